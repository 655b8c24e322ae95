"use strict";
/** The limits of LOAD; these stand until it came. */
module.exports = { resultBytes: 8 * 1024 * 1024, logBytes: 1024 * 1024, logEntryCharacters: 8000 };
