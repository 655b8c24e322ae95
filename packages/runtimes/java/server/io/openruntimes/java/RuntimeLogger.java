package io.openruntimes.java;

import java.util.Map;

/** Log entries with a level and, if wanted, fields. */
public abstract class RuntimeLogger {
  /** One entry. `fields` may be null. */
  protected abstract void entry(String level, String text, Map<String, ?> fields);

  /** Arguments as one text, joined by a space. */
  protected abstract String join(Object[] messages);

  final void write(String level, Object[] messages) {
    entry(level, join(messages == null ? new Object[] {null} : messages), null);
  }

  public void debug(String message) {
    entry("debug", message, null);
  }

  public void debug(String message, Map<String, ?> fields) {
    entry("debug", message, fields);
  }

  public void info(String message) {
    entry("info", message, null);
  }

  public void info(String message, Map<String, ?> fields) {
    entry("info", message, fields);
  }

  public void warn(String message) {
    entry("warn", message, null);
  }

  public void warn(String message, Map<String, ?> fields) {
    entry("warn", message, fields);
  }

  public void error(String message) {
    entry("error", message, null);
  }

  public void error(String message, Map<String, ?> fields) {
    entry("error", message, fields);
  }
}
