/// Answers every request.
Future<dynamic> main(final context) async {
  final name = context.req.query['name'] ?? 'world';
  context.log('Greeting', name);
  return context.res.json({'language': 'dart', 'message': 'Hello, $name!'});
}
