import 'dart:convert';

import 'journal.dart';
import 'request.dart';
import 'settings.dart';

/// One execution: what the function is given.
class Context {
  Context(this.req, this.logger);

  final Request req;
  final Responder res = const Responder();
  final Logger logger;

  void log(Object? a, [Object? b = _none, Object? c = _none, Object? d = _none, Object? e = _none]) =>
      logger._write('info', _joined([a, b, c, d, e]), null);

  void error(Object? a, [Object? b = _none, Object? c = _none, Object? d = _none, Object? e = _none]) =>
      logger._write('error', _joined([a, b, c, d, e]), null);

  static String _joined(List<Object?> arguments) => [
        for (final argument in arguments)
          if (!identical(argument, _none)) argument is Map || argument is Iterable ? asJson(argument) : '$argument',
      ].join(' ');
}

const Object _none = #treadleNone;

/// Writes lines with a level and fields. What comes after the end belongs to no execution.
class Logger {
  Logger(this.id, this._silent, this._journal);

  final String id;
  final bool _silent;
  final Journal _journal;
  bool ended = false;

  void debug(String message, [Map<String, dynamic>? fields]) => _write('debug', message, fields);
  void info(String message, [Map<String, dynamic>? fields]) => _write('info', message, fields);
  void warn(String message, [Map<String, dynamic>? fields]) => _write('warn', message, fields);
  void error(String message, [Map<String, dynamic>? fields]) => _write('error', message, fields);

  void _write(String level, String text, Map<String, dynamic>? fields) {
    if (!_silent) _journal.write(ended ? null : id, level, text, fields);
  }
}

/// What a function returns, made by one of the methods of context.res.
class Response {
  Response(this.body, this.statusCode, this.headers, {this.source});

  final List<int> body;
  final int statusCode;

  /// A value that is a list is as many headers.
  final Map<String, dynamic> headers;
  final Stream<List<int>>? source;

  /// Header lines to send. Throws what is wrong with them.
  List<(String, String)> finished() {
    if (statusCode < 200 || statusCode > 599) {
      throw RangeError('The status code must be a whole number from 200 to 599, got $statusCode.');
    }
    const ofConnection = {'connection', 'content-length', 'keep-alive', 'transfer-encoding', 'upgrade'};
    final lines = <(String, String)>[];
    var contentType = 'text/plain';
    for (final MapEntry(:key, :value) in headers.entries) {
      final name = key.toLowerCase();
      if (name.startsWith(controlPrefix) || ofConnection.contains(name)) continue;
      for (final each in value is Iterable ? value : [value]) {
        if (name == 'content-type') {
          contentType = '$each';
        } else {
          lines.add((name, '$each'));
        }
      }
    }
    final lower = contentType.toLowerCase();
    final complete = lower.startsWith('multipart/')
        ? contentType
        : lower.contains('charset=')
            ? lower
            : '$lower; charset=utf-8';
    return [...lines, ('content-type', complete)];
  }
}

/// Makes responses. The returned one is sent.
class Responder {
  const Responder();

  Response text(String body, [int statusCode = 200, Map<String, dynamic> headers = const {}]) =>
      Response(utf8.encode(body), statusCode, headers);

  Response binary(List<int> bytes, [int statusCode = 200, Map<String, dynamic> headers = const {}]) =>
      Response(bytes, statusCode, {'content-type': 'application/octet-stream', ..._lower(headers)});

  Response json(Object? value, [int statusCode = 200, Map<String, dynamic> headers = const {}]) =>
      Response(utf8.encode(jsonEncode(value)), statusCode, {'content-type': 'application/json', ..._lower(headers)});

  Response redirect(String url, [int statusCode = 301, Map<String, dynamic> headers = const {}]) =>
      Response(const [], statusCode, {..._lower(headers), 'location': url});

  Response empty() => Response(const [], 204, const {});

  Response send(String body, [int statusCode = 200, Map<String, dynamic> headers = const {}]) =>
      text(body, statusCode, headers);

  /// Sends the head at once, then each piece as it comes. An error of the source breaks the connection.
  Response stream(Stream<List<int>> source, [int statusCode = 200, Map<String, dynamic> headers = const {}]) =>
      Response(const [], statusCode, headers, source: source);

  static Map<String, dynamic> _lower(Map<String, dynamic> headers) =>
      {for (final MapEntry(:key, :value) in headers.entries) key.toLowerCase(): value};
}
