/** What went in and out as files' bytes, and what upkeep did, for the metrics. */
export class Transfers {
  /** Files that came whole, by any way, and the bytes that came, also of uploads that are not finished. */
  files = 0;
  uploadedBytes = 0;
  downloadedBytes = 0;
  collectedBlobs = 0;
  collectedBytes = 0;
  scrubbedBytes = 0;
  damagedBlobs = 0;
}
