import 'dart:async';
import 'dart:convert';
import 'dart:io';
import 'dart:math';

import 'context.dart';
import 'journal.dart';
import 'request.dart';
import 'settings.dart';

const _timedOut = 'Execution timed out.';
const _nothingReturned = 'Return statement missing. return context.res.empty() if no response is expected.';

/// Runs the server until it is told to stop. Called by the program that the build makes, not by functions.
Future<void> serve(FutureOr<dynamic> Function(dynamic context) main) async {
  final settings = Settings();
  final journal = Journal(settings.logFolder);
  if (Directory(settings.code).existsSync()) Directory.current = settings.code;
  final socket = settings.socket;
  final HttpServer server;
  if (socket == null) {
    server = await HttpServer.bind(InternetAddress.anyIPv4, settings.port);
  } else {
    // File.existsSync answers for regular files only.
    if (FileSystemEntity.typeSync(socket, followLinks: false) == FileSystemEntityType.unixDomainSock) {
      File(socket).deleteSync();
    }
    server = await HttpServer.bind(InternetAddress(socket, type: InternetAddressType.unix), 0);
  }
  server
    ..autoCompress = false
    ..idleTimeout = null
    ..defaultResponseHeaders.clear();
  for (final signal in [ProcessSignal.sigterm, ProcessSignal.sigint]) {
    signal.watch().listen((_) async {
      await server.close();
      exit(0);
    });
  }
  journal.say('HTTP server successfully started!');
  // What a function throws late, outside of every execution, must not end the server.
  runZonedGuarded(
    () => server.listen((request) => unawaited(_answer(main, settings, journal, request).catchError((Object _) {}))),
    (error, stack) => journal.write(null, 'error', '$error\n$stack'),
  );
}

Future<void> _answer(
  FutureOr<dynamic> Function(dynamic) main,
  Settings settings,
  Journal journal,
  HttpRequest request,
) async {
  final response = request.response;
  switch ('${request.uri}') {
    case '/__opr/health':
      return _text(response, 200, 'OK');
    case '/__opr/timings':
      final file = File('/mnt/telemetry/timings.txt');
      final timings = file.existsSync() ? file.readAsStringSync() : '';
      return _text(response, 200, '${timings.isEmpty || timings.endsWith('\n') ? timings : '$timings\n'}load=0.000\n');
  }
  String control(String name) => request.headers.value('$controlPrefix$name') ?? '';
  Future<void> refuse(String why) async {
    await request.drain<void>();
    await _text(response, 500, why);
  }

  if (settings.secret.isNotEmpty && !_isEqual(control('secret'), settings.secret)) {
    return refuse('Unauthorized. Provide correct "x-open-runtimes-secret" header.');
  }
  final timeout = control('timeout');
  final seconds = RegExp(r'^\d{1,10}$').hasMatch(timeout) ? int.parse(timeout) : 0;
  if (timeout.isNotEmpty && (seconds < 1 || seconds > 2147483)) {
    return refuse('Header "x-open-runtimes-timeout" must be an integer greater than 0.');
  }
  final logging = control('logging');
  if (logging.isNotEmpty && logging != 'enabled' && logging != 'disabled') {
    return refuse('Header "x-open-runtimes-logging" must be either "enabled" or "disabled".');
  }
  // Code that is compiled in has loaded.
  if ('${request.uri}' == '/__opr/load') return _text(response, 200, 'OK');
  final asked = control('log-id');
  final id = RegExp(r'^[A-Za-z0-9_-]{1,64}$').hasMatch(asked) ? asked : (settings.development ? 'dev' : _newLogId());

  final body = await readBody(request);
  if (body == null) return _text(response, 413, 'The request body is larger than 20 MiB.');
  final logger = Logger(id, logging == 'disabled', journal);
  final context = Context(Request.of(request, settings.enforced, body), logger);
  response.headers.set('x-open-runtimes-log-id', logging == 'disabled' ? '' : id, preserveHeaderCase: true);

  final result = await _run(main, context, seconds);
  if (result == null) {
    logger.ended = true;
    response
      ..statusCode = 500
      ..contentLength = 0
      ..headers.set('content-type', 'text/plain; charset=utf-8', preserveHeaderCase: true);
    return response.close();
  }
  final (answer, headers) = result;
  response.statusCode = answer.statusCode;
  response.headers.removeAll('content-type');
  for (final (name, value) in headers) {
    response.headers.add(name, value, preserveHeaderCase: true);
  }
  final source = answer.source;
  if (source == null) {
    logger.ended = true;
    if (answer.statusCode != 204 && answer.statusCode != 304) response.contentLength = answer.body.length;
    if (request.method != 'HEAD' && answer.body.isNotEmpty) response.add(answer.body);
    return response.close();
  }
  await _stream(response, source, logger);
}

Future<void> _stream(HttpResponse response, Stream<List<int>> source, Logger logger) async {
  response.bufferOutput = false;
  try {
    await response.flush();
    await for (final piece in source) {
      response.add(piece);
      await response.flush();
    }
    logger.ended = true;
    await response.close();
  } catch (error, stack) {
    logger.error('$error\n$stack');
    logger.ended = true;
    // Without an end, so that nobody takes the part for the whole.
    (await response.detachSocket(writeHeaders: false)).destroy();
  }
}

/// Calls user code. Null: it failed, and the error log says why.
Future<(Response, List<(String, String)>)?> _run(
  FutureOr<dynamic> Function(dynamic) main,
  Context context,
  int seconds,
) {
  final done = Completer<(Response, List<(String, String)>)?>();
  void fail(String why) {
    if (done.isCompleted) return;
    context.logger.error(why);
    done.complete(null);
  }

  final clock = seconds > 0 ? Timer(Duration(seconds: seconds), () => fail(_timedOut)) : null;
  runZonedGuarded(
    () async {
      final returned = await main(context);
      if (returned == null) return fail(_nothingReturned);
      if (returned is! Response) return fail('The function must return a response, such as context.res.json({}).');
      final headers = returned.finished();
      if (!done.isCompleted) done.complete((returned, headers));
    },
    (error, stack) => done.isCompleted ? context.logger.error('$error\n$stack') : fail('$error\n$stack'),
    // Each execution has a zone: what is printed in it is its own.
    zoneSpecification: ZoneSpecification(
      print: (self, parent, zone, line) {
        for (final each in line.split('\n')) {
          context.logger.info(each);
        }
      },
    ),
  );
  return done.future.whenComplete(() => clock?.cancel());
}

Future<void> _text(HttpResponse response, int statusCode, String text) {
  final body = utf8.encode(text);
  response
    ..statusCode = statusCode
    ..contentLength = body.length
    ..headers.set('content-type', 'text/plain; charset=utf-8', preserveHeaderCase: true)
    ..add(body);
  return response.close();
}

/// Equal, in a time that does not tell where they differ.
bool _isEqual(String given, String secret) {
  var difference = given.length ^ secret.length;
  for (var i = 0; i < given.length; i++) {
    difference |= given.codeUnitAt(i) ^ secret.codeUnitAt(i % secret.length);
  }
  return difference == 0;
}

final _random = Random.secure();

/// 20 characters that name the log of one execution.
String _newLogId() => List.generate(20, (_) => _random.nextInt(36).toRadixString(36)).join();
