package io.openruntimes.java;

import java.io.OutputStream;

/** Writes the body of a streamed response. Each write is sent at once, and waits while the client does not take it. */
@FunctionalInterface
public interface StreamWriter {
  void write(OutputStream out) throws Exception;
}
