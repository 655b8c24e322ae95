<?php

declare(strict_types=1);

namespace Treadle\Server;

/** What the server is told by its environment, read once and before user code. */
final class Settings
{
    public const MAX_BODY_BYTES = 20 * 1024 * 1024;
    private const MAX_TIMEOUT_SECONDS = 2_147_483;

    public function __construct(
        public readonly ?string $socket,
        public readonly int $port,
        public readonly string $code,
        public readonly ?string $dependencies,
        public readonly bool $script,
        public readonly string $entrypoint,
        private readonly string $secret,
        /** @var array<string, string> Headers that every request has. */
        public readonly array $enforcedHeaders,
        private readonly bool $development,
        /** Folder of log files; null: entries go to stdout. */
        public readonly ?string $logFolder,
        public readonly string $timings,
    ) {
    }

    /** The secret is taken out of the environment: it is the caller's, not user code's. */
    public static function fromEnvironment(): self
    {
        $get = fn (string $name, string $default): string => ($value = getenv($name)) === false || $value === '' ? $default : $value;
        $folder = $get('TREADLE_LOGS', '/mnt/logs');
        $enforced = [];
        foreach (json_decode($get('OPEN_RUNTIMES_HEADERS', '{}'), true, 512, JSON_THROW_ON_ERROR) as $name => $value) {
            $enforced[strtolower((string) $name)] = is_string($value) ? $value : json_encode($value);
        }
        $settings = new self(
            $get('TREADLE_SOCKET', '') ?: null,
            (int) $get('PORT', '3000'),
            rtrim($get('TREADLE_CODE', '/usr/local/server/src/function'), '/'),
            $get('TREADLE_DEPENDENCIES', '') ?: null,
            $get('TREADLE_CONTRACT', 'handler') === 'script',
            $get('OPEN_RUNTIMES_ENTRYPOINT', 'index.php'),
            $get('OPEN_RUNTIMES_SECRET', ''),
            $enforced,
            $get('OPEN_RUNTIMES_ENV', '') === 'development',
            is_dir($folder) ? $folder : null,
            $get('TREADLE_TIMINGS', '/mnt/telemetry/timings.txt'),
        );
        putenv('OPEN_RUNTIMES_SECRET');
        unset($_ENV['OPEN_RUNTIMES_SECRET'], $_SERVER['OPEN_RUNTIMES_SECRET']);
        return $settings;
    }

    /**
     * What the runtime's own headers of a request ask for: [timeout in seconds or 0, logging, log id]; or why they are refused.
     *
     * @param array<string, string> $headers
     * @return array{int, bool, string}|string
     */
    public function control(array $headers): array|string
    {
        if ($this->secret !== '' && !hash_equals($this->secret, $headers['x-open-runtimes-secret'] ?? '')) {
            return 'Unauthorized. Provide correct "x-open-runtimes-secret" header.';
        }
        $timeout = $headers['x-open-runtimes-timeout'] ?? '';
        if ($timeout !== '' && (!preg_match('/^\d{1,9}$/D', $timeout) || (int) $timeout < 1 || (int) $timeout > self::MAX_TIMEOUT_SECONDS)) {
            return 'Header "x-open-runtimes-timeout" must be an integer greater than 0.';
        }
        $logging = ($headers['x-open-runtimes-logging'] ?? '') ?: 'enabled';
        if ($logging !== 'enabled' && $logging !== 'disabled') {
            return 'Header "x-open-runtimes-logging" must be either "enabled" or "disabled".';
        }
        $id = $headers['x-open-runtimes-log-id'] ?? '';
        if (!preg_match('/^[A-Za-z0-9_-]{1,64}$/D', $id)) {
            $id = $this->development ? 'dev' : bin2hex(random_bytes(10));
        }
        return [(int) $timeout, $logging === 'enabled', $id];
    }
}
