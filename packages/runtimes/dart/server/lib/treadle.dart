/// The server that runs a function, and the types of what the function is given.
library;

export 'src/context.dart' show Context, Logger, Responder, Response;
export 'src/request.dart' show Request;
export 'src/server.dart' show serve;
