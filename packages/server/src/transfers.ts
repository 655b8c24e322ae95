/** What went in and out as files' bytes, for the metrics. */
export class Transfers {
  /** Files that came whole, by any way, and the bytes that came, also of uploads that are not finished. */
  files = 0;
  uploadedBytes = 0;
  downloadedBytes = 0;
}
