import 'dart:async';
import 'dart:convert';
import 'dart:io';
import 'dart:typed_data';

import 'settings.dart';

/// Bodies that are wanted as a whole are at most this long.
const maxBodyBytes = 20 * 1024 * 1024;

/// What the function is asked: `req` of Open Runtimes v5. The body is there before the function is called.
class Request {
  Request._(this.method, this.headers, this.bodyBinary);

  final String method;

  /// Names in lower case; several of one name are joined with `, `.
  final Map<String, String> headers;
  final Uint8List bodyBinary;
  late final String scheme, host, path, queryString, url;
  late final int port;

  /// Undecoded: `a=b&c==d&k` is {a: 'b', c: '=d', k: ''}.
  late final Map<String, String> query = _parseQuery(queryString);

  late final String bodyText = utf8.decode(bodyBinary, allowMalformed: true);
  String get bodyRaw => bodyText;

  dynamic get bodyJson {
    try {
      return jsonDecode(bodyText);
    } on FormatException catch (error) {
      throw FormatException('The request body is not valid JSON: ${error.message}');
    }
  }

  /// What JSON holds when the content type is application/json (an empty map for an empty body), else text.
  dynamic get body {
    final isJson = (headers['content-type'] ?? '').toLowerCase().startsWith('application/json');
    if (!isJson) return bodyText;
    return bodyBinary.isEmpty ? <String, dynamic>{} : bodyJson;
  }

  Stream<List<int>> get bodyStream => Stream.value(bodyBinary);

  static Request of(HttpRequest request, Map<String, String> enforced, Uint8List body) {
    final headers = <String, String>{};
    request.headers.forEach((name, values) {
      final lower = name.toLowerCase();
      if (!lower.startsWith(controlPrefix)) headers[lower] = values.join(', ');
    });
    headers.addAll(enforced);
    return Request._(request.method, headers, body).._setTarget('${request.uri}');
  }

  void _setTarget(String target) {
    var given = headers['x-forwarded-proto'] ?? 'http';
    var authority = headers['host'] ?? 'localhost';
    var rest = target;
    final absolute = RegExp(r'^([a-zA-Z][a-zA-Z0-9+.-]*)://([^/?#]*)').firstMatch(target);
    if (absolute != null) {
      given = absolute[1]!.toLowerCase();
      authority = absolute[2]!;
      rest = target.substring(absolute.end);
    }
    final fragment = rest.indexOf('#');
    if (fragment >= 0) rest = rest.substring(0, fragment);
    final mark = rest.indexOf('?');
    final before = mark < 0 ? rest : rest.substring(0, mark);
    scheme = given;
    path = before.isEmpty ? '/' : before;
    queryString = mark < 0 ? '' : rest.substring(mark + 1);
    final usual = scheme == 'https' ? 443 : 80;
    final colon = authority.lastIndexOf(':');
    final hasPort = colon > authority.lastIndexOf(']');
    host = hasPort ? authority.substring(0, colon) : authority;
    port = (hasPort ? int.tryParse(authority.substring(colon + 1)) : null) ?? usual;
    final shownPort = port == usual ? '' : ':$port';
    url = '$scheme://$host$shownPort$path${queryString.isEmpty ? '' : '?$queryString'}';
  }

  static Map<String, String> _parseQuery(String text) {
    final query = <String, String>{};
    for (final part in text.split('&')) {
      final equals = part.indexOf('=');
      final key = equals < 0 ? part : part.substring(0, equals);
      if (key.isNotEmpty) query[key] = equals < 0 ? '' : part.substring(equals + 1);
    }
    return query;
  }
}

/// The whole body; null when it is too large, which is read to its end all the same.
Future<Uint8List?> readBody(HttpRequest request) async {
  final bytes = BytesBuilder(copy: false);
  var length = 0;
  await for (final piece in request) {
    length += piece.length;
    if (length <= maxBodyBytes) {
      bytes.add(piece);
    } else {
      bytes.clear();
    }
  }
  return length > maxBodyBytes ? null : bytes.takeBytes();
}
