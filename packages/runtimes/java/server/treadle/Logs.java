package treadle;

import java.io.ByteArrayOutputStream;
import java.io.FileDescriptor;
import java.io.FileOutputStream;
import java.io.IOException;
import java.io.OutputStream;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.util.Map;

/** Log lines on the real stdout, one write each, and the capture of what user code prints. */
final class Logs {
  private static final int MOST_CHARACTERS = 8000;
  private static final String CUT_NOTE = "... Log truncated due to size limit (8000 characters)";
  /** A line without end is cut into entries of this many bytes. */
  private static final int MOST_LINE_BYTES = 64 * 1024;

  /** The execution that a thread works for; threads that it starts inherit it. */
  static final InheritableThreadLocal<Execution> CURRENT = new InheritableThreadLocal<>();

  private static final OutputStream STDOUT = new FileOutputStream(FileDescriptor.out);
  private static final Lines[] UNTIED = {new Lines(), new Lines()};
  private static Path folder;

  private Logs() {}

  /** Makes System.out and System.err attribute what is printed to the execution that prints it. */
  static void capture(Path logFolder) {
    folder = logFolder;
    System.setOut(new PrintStream(new Printed(0), true, StandardCharsets.UTF_8));
    System.setErr(new PrintStream(new Printed(1), true, StandardCharsets.UTF_8));
  }

  /** A line for whoever reads stdout, as it is. */
  static void announce(String line) {
    write((line + "\n").getBytes(StandardCharsets.UTF_8));
  }

  /** One entry. `execution` null: tied to none. */
  static void entry(Execution execution, String level, String given, Map<String, ?> fields) {
    if (execution != null && !execution.logging) return;
    String text = given;
    if (text.length() > MOST_CHARACTERS) {
      int end = Character.isHighSurrogate(text.charAt(MOST_CHARACTERS - 1)) ? MOST_CHARACTERS - 1 : MOST_CHARACTERS;
      text = text.substring(0, end) + CUT_NOTE;
    }
    String id = execution == null || execution.isOver() ? null : execution.id;
    if (folder != null && id != null) {
      append(id, level, text);
      return;
    }
    StringBuilder line = new StringBuilder(text.length() + 96);
    line.append("{\"id\":");
    if (id == null) line.append("null");
    else Json.quote(line, id);
    line.append(",\"level\":\"").append(level).append("\",\"text\":");
    Json.quote(line, text);
    if (fields != null && !fields.isEmpty()) line.append(",\"fields\":").append(Json.write(fields));
    line.append(",\"time\":").append(System.currentTimeMillis()).append("}\n");
    write(line.toString().getBytes(StandardCharsets.UTF_8));
  }

  private static void append(String id, String level, String text) {
    Path file = folder.resolve(id + (level.equals("error") ? "_errors.log" : "_logs.log"));
    try {
      Files.write(file, (text + "\n").getBytes(StandardCharsets.UTF_8), StandardOpenOption.CREATE, StandardOpenOption.APPEND);
    } catch (IOException e) {
      announce("A log could not be written: " + e.getMessage());
    }
  }

  private static void write(byte[] bytes) {
    synchronized (STDOUT) {
      try {
        STDOUT.write(bytes);
      } catch (IOException e) {
        // A closed stdout must not end the server.
      }
    }
  }

  /** Bytes printed to one stream, until their line ends. */
  static final class Lines {
    private final ByteArrayOutputStream bytes = new ByteArrayOutputStream(0);

    synchronized void add(Execution execution, int stream, byte[] from, int start, int length) {
      int begin = start;
      for (int i = start; i < start + length; i++) {
        if (from[i] != '\n') continue;
        bytes.write(from, begin, i - begin);
        begin = i + 1;
        end(execution, stream);
      }
      bytes.write(from, begin, start + length - begin);
      if (bytes.size() >= MOST_LINE_BYTES) end(execution, stream);
    }

    private void end(Execution execution, int stream) {
      String text = bytes.toString(StandardCharsets.UTF_8);
      bytes.reset();
      if (text.endsWith("\r")) text = text.substring(0, text.length() - 1);
      entry(execution, stream == 0 ? "info" : "error", text, null);
    }

    /** What is left of a line when the execution ends. */
    synchronized void flush(Execution execution, int stream) {
      if (bytes.size() > 0) end(execution, stream);
    }
  }

  private static final class Printed extends OutputStream {
    private final int stream;

    Printed(int stream) {
      this.stream = stream;
    }

    @Override
    public void write(int b) {
      write(new byte[] {(byte) b}, 0, 1);
    }

    @Override
    public void write(byte[] from, int start, int length) {
      Execution execution = CURRENT.get();
      if (execution != null && execution.isOver()) execution = null;
      (execution == null ? UNTIED : execution.printed)[stream].add(execution, stream, from, start, length);
    }
  }
}
