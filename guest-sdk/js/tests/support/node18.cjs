// The package needs Node 20. Its tests that need no other package also run with Node 18, which
// Debian 12 has, and which lacks only these two functions.
String.prototype.isWellFormed ??= function () {
  return !/\p{Surrogate}/u.test(this);
};
String.prototype.toWellFormed ??= function () {
  return this.replace(/\p{Surrogate}/gu, '\ufffd');
};
