import 'dart:convert';
import 'dart:io';

const _maxCharacters = 8000;
const _cutNote = '... Log truncated due to size limit (8000 characters)';

/// Writes log entries as lines of JSON to stdout, or as text to files in a folder.
class Journal {
  Journal(this._folder);

  final String? _folder;

  void say(String line) => _put(line);

  void write(String? id, String level, String text, [Map<String, dynamic>? fields]) {
    final kept = text.length > _maxCharacters ? text.substring(0, _maxCharacters) + _cutNote : text;
    final folder = _folder;
    if (folder != null && id != null) {
      final kind = level == 'error' ? 'errors' : 'logs';
      final more = fields == null || fields.isEmpty ? '' : ' ${asJson(fields)}';
      File('$folder/${id}_$kind.log').writeAsStringSync('$kept$more\n', mode: FileMode.append);
      return;
    }
    _put(asJson({
      'id': id,
      'level': level,
      'text': kept,
      if (fields != null && fields.isNotEmpty) 'fields': fields,
    }));
  }

  void _put(String line) => stdout.add(utf8.encode('$line\n'));
}

/// Compact JSON; what JSON cannot hold is written as its text.
String asJson(Object? value) => jsonEncode(value, toEncodable: (object) => '$object');
