package io.openruntimes.java;

/** What a function is called with. */
public final class RuntimeContext {
  private final RuntimeRequest req;
  private final RuntimeResponse res;
  private final RuntimeLogger logger;

  /** For the server, and for tests of functions. */
  public RuntimeContext(RuntimeRequest req, RuntimeResponse res, RuntimeLogger logger) {
    this.req = req;
    this.res = res;
    this.logger = logger;
  }

  public RuntimeRequest getReq() {
    return req;
  }

  public RuntimeResponse getRes() {
    return res;
  }

  public RuntimeLogger getLogger() {
    return logger;
  }

  /** Logs its arguments, joined by a space; maps, lists, arrays and records as JSON. */
  public void log(Object... messages) {
    logger.write("info", messages);
  }

  /** Like log, to the error log. */
  public void error(Object... messages) {
    logger.write("error", messages);
  }
}
