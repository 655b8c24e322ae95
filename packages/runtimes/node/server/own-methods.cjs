"use strict";
/** Makes inherited methods an object's own, so that a later patch of its prototype does not reach them. */
module.exports = function ownMethods(object, ...names) {
  for (const name of names) {
    const inherited = object[name];
    object[name] = inherited;
  }
  return object;
};
