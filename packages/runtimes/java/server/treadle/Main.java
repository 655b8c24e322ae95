package treadle;

import java.io.IOException;

/** Starts the server on what the environment says (HTTP.md). */
public final class Main {
  private Main() {}

  public static void main(String[] arguments) throws IOException {
    Settings settings = new Settings(System.getenv());
    Logs.capture(settings.logs);
    Server server = new Server(settings, null);
    Logs.announce("HTTP server successfully started!");
    server.run();
  }
}
