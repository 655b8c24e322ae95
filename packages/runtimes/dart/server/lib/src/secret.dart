import 'dart:convert';
import 'dart:ffi';

typedef _Text = Pointer<Uint8>;

/// Takes a variable out of the process's environment, which Dart itself only reads. To be called before anybody asks for Platform.environment: that keeps a copy.
String takeFromEnvironment(String name) {
  final process = DynamicLibrary.process();
  final allocate = process.lookupFunction<_Text Function(Size), _Text Function(int)>('malloc');
  final release = process.lookupFunction<Void Function(_Text), void Function(_Text)>('free');
  final read = process.lookupFunction<_Text Function(_Text), _Text Function(_Text)>('getenv');
  final remove = process.lookupFunction<Int Function(_Text), int Function(_Text)>('unsetenv');
  final bytes = utf8.encode(name);
  final key = allocate(bytes.length + 1);
  key.asTypedList(bytes.length + 1)
    ..setAll(0, bytes)
    ..[bytes.length] = 0;
  try {
    final value = read(key);
    if (value == nullptr) return '';
    var length = 0;
    while (value[length] != 0) {
      length++;
    }
    final text = utf8.decode(value.asTypedList(length), allowMalformed: true);
    remove(key);
    return text;
  } finally {
    release(key);
  }
}
