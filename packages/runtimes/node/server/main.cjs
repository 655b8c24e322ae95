"use strict";
// The runtime server. It lives in the process of user code, so it loads little, and takes what it needs of the
// language before user code can change it. `node main.cjs frames` serves CHANNEL.md on file descriptor 3,
// `node main.cjs http` serves Open Runtimes v5.
if (process.argv[2] === "http") require("./http.cjs").serve();
else require("./frames.cjs").serve();
