// Does what the header x-action asks for (test/conformance/ACTIONS.md).
import 'dart:convert';
import 'dart:io';

Future<dynamic> main(final context) async {
  final req = context.req, res = context.res;
  final headers = req.headers as Map<String, String>;
  int number(String name) => int.parse(headers[name]!);
  Future<void> wait(int ms) => Future.delayed(Duration(milliseconds: ms));
  switch (headers['x-action']) {
    case 'plainText':
      return res.text('Hello World 👋');
    case 'json':
      return res.json({'json': true, 'message': 'Developers are awesome.'});
    case 'charset':
      return res.text('ok', 200, {'content-type': 'text/plain; charset=iso-8859-1'});
    case 'upperCaseType':
      return res.text('ok', 200, {'content-type': 'TEXT/HTML'});
    case 'multipart':
      return res.text('--x--', 200, {'content-type': 'multipart/form-data; boundary=12345'});
    case 'redirect':
      return res.redirect('https://example.com/there');
    case 'empty':
      return res.empty();
    case 'binary':
      return res.binary([0, 10, 255]);
    case 'noResponse':
      return null;
    case 'double':
      res.text('This should be ignored.');
      return res.text('This should be returned.');
    case 'headers':
      return res.text('OK', 200, {
        'first-header': 'first-value',
        'second-header': headers['x-open-runtimes-custom-in-header'] ?? 'missing',
        'third-header': headers['cookie'] ?? 'missing',
        'x-open-runtimes-custom-out-header': 'third-value',
      });
    case 'setCookie':
      return res.text('OK', 200, {
        'set-cookie': ['a=1; Path=/', 'b=2; HttpOnly']
      });
    case 'status':
      return res.text('status', number('x-status'));
    case 'method':
      return res.text(req.method);
    case 'url':
      return res.json({
        'url': req.url,
        'port': req.port,
        'path': req.path,
        'query': req.query,
        'queryString': req.queryString,
        'scheme': req.scheme,
        'host': req.host,
      });
    case 'requestHeaders':
      return res.json(headers);
    case 'bodyText':
      return res.text(req.bodyText);
    case 'bodyJson':
      return res.json(req.bodyJson);
    case 'body':
      final body = req.body;
      return res.json({'kind': body is String ? 'text' : 'object', 'body': body});
    case 'bodyBinary':
      return res.binary(req.bodyBinary);
    case 'environment':
      return res.json({
        'given': Platform.environment['CUSTOM_ENV_VAR'],
        'missing': Platform.environment['NOT_DEFINED_VAR'],
        'secret': Platform.environment['OPEN_RUNTIMES_SECRET'],
      });
    case 'log':
      context.log('Debug Log');
      context.error('Error Log');
      context.log('A', 42, true);
      context.log({'object': true});
      print('Native Log');
      return res.text('');
    case 'longLog':
      context.log('a' * 9000);
      return res.text('');
    case 'structuredLog':
      context.logger.warn('structured', {'key': 'value'});
      return res.text('');
    case 'exception':
      context.log('before');
      throw Exception('Custom error message');
    case 'sleep':
      await wait(number('x-ms'));
      return res.text('slept');
    case 'concurrentLog':
      final id = headers['x-id']!;
      for (var round = 0; round < 3; round++) {
        context.log(id);
        if (round == 1) print('native $id');
        await wait(20);
      }
      return res.text(id);
    case 'stream':
      Stream<List<int>> three() async* {
        yield utf8.encode('one\n');
        await wait(200);
        yield utf8.encode('two\n');
        await wait(200);
        yield utf8.encode('three\n');
      }
      return res.stream(three(), 201, {'x-streamed': 'yes'});
    case 'streamLarge':
      Stream<List<int>> large() async* {
        for (var left = number('x-size'); left > 0; left -= 64 * 1024) {
          yield List.filled(left < 64 * 1024 ? left : 64 * 1024, 97);
        }
      }
      return res.stream(large());
    case 'streamError':
      Stream<List<int>> failing() async* {
        yield utf8.encode('one\n');
        throw Exception('the source failed');
      }
      return res.stream(failing());
    case 'echoStream':
      return res.stream(req.bodyStream);
    case 'large':
      return res.binary(List.filled(number('x-size'), 97));
    case 'file':
      return res.text(File('data.txt').readAsStringSync());
  }
  return res.text('Unknown action', 404);
}
