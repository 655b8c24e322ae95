import 'dart:convert';
import 'dart:io';

import 'secret.dart';

/// Starts the names of the headers between caller and server, which user code neither sees nor sets.
const controlPrefix = 'x-open-runtimes-';

/// Settings of the process (HTTP.md), read once and before user code.
class Settings {
  /// The caller's, not user code's: first, since the environment is read once.
  final String secret = takeFromEnvironment('OPEN_RUNTIMES_SECRET');
  final String? socket = _text('TREADLE_SOCKET');
  final int port = int.tryParse(_text('PORT') ?? '') ?? 3000;
  final String code = _text('TREADLE_CODE') ?? '/usr/local/server/src/function';
  final bool development = _text('OPEN_RUNTIMES_ENV') == 'development';

  /// Folder for log files; null: logs go to stdout.
  final String? logFolder = _folder(_text('TREADLE_LOGS') ?? '/mnt/logs');

  /// Headers that every request has.
  final Map<String, String> enforced = _enforced(_text('OPEN_RUNTIMES_HEADERS'));

  static String? _text(String name) {
    final value = Platform.environment[name];
    return value == null || value.isEmpty ? null : value;
  }

  static String? _folder(String path) => Directory(path).existsSync() ? path : null;

  static Map<String, String> _enforced(String? text) {
    if (text == null) return const {};
    final given = jsonDecode(text) as Map<String, dynamic>;
    return {for (final MapEntry(:key, :value) in given.entries) key.toLowerCase(): '$value'};
  }
}
