<?php

declare(strict_types=1);

namespace Treadle\Server;

/** What user code logs and prints, as one JSON line on stdout each, written at once. A worker runs one execution at a time. */
final class Logs
{
    private const MAX_CHARACTERS = 8000;
    private const CUT_NOTE = '... Log truncated due to size limit (8000 characters)';
    private const JSON = JSON_UNESCAPED_SLASHES | JSON_UNESCAPED_UNICODE | JSON_INVALID_UTF8_SUBSTITUTE | JSON_PARTIAL_OUTPUT_ON_ERROR;

    private ?string $id = null;
    private bool $silent = false;
    /** What was printed after the last line end. */
    private string $line = '';
    /** @var resource|null Held while a line is written: the kernel keeps only short writes of several workers apart. */
    private $lock = null;

    public function __construct(private readonly ?string $folder, ?string $lockFile)
    {
        if ($lockFile !== null) {
            $this->lock = fopen($lockFile, 'r') ?: null;
        }
    }

    /** From here on entries belong to this execution. */
    public function begin(string $id, bool $silent): void
    {
        $this->id = $id;
        $this->silent = $silent;
    }

    /** From here on they belong to none. */
    public function end(): void
    {
        $this->endLine();
        $this->id = null;
        $this->silent = false;
    }

    /** @param array<string, mixed>|null $fields */
    public function append(string $level, string $text, ?array $fields = null): void
    {
        if ($this->silent) {
            return;
        }
        if (strlen($text) > self::MAX_CHARACTERS) {
            $text = self::cut($text);
        }
        if ($this->folder !== null && $this->id !== null) {
            $kind = $level === 'error' ? 'errors' : 'logs';
            file_put_contents("$this->folder/{$this->id}_$kind.log", "$text\n", FILE_APPEND);
            return;
        }
        $entry = ['id' => $this->id, 'level' => $level, 'text' => $text];
        if ($fields !== null) {
            $entry['fields'] = (object) $fields;
        }
        $this->lock !== null && flock($this->lock, LOCK_EX);
        @fwrite(STDOUT, json_encode($entry, self::JSON) . "\n");
        $this->lock !== null && flock($this->lock, LOCK_UN);
    }

    private static function cut(string $text): string
    {
        // Characters, as far as the text is UTF-8.
        $kept = preg_match('/^.{' . self::MAX_CHARACTERS . '}/su', $text, $match) ? $match[0] : null;
        if ($kept === null && preg_match('//u', $text)) {
            return $text;
        }
        $kept ??= substr($text, 0, self::MAX_CHARACTERS);
        return strlen($kept) === strlen($text) ? $text : $kept . self::CUT_NOTE;
    }

    /** Takes what was printed, a line at a time. */
    public function print(string $text): void
    {
        $lines = explode("\n", $this->line . $text);
        $this->line = array_pop($lines);
        foreach ($lines as $line) {
            $this->append('info', rtrim($line, "\r"));
        }
        if (strlen($this->line) > 4 * self::MAX_CHARACTERS) {
            $this->endLine();
        }
    }

    private function endLine(): void
    {
        if ($this->line !== '') {
            $this->append('info', $this->line);
            $this->line = '';
        }
    }

    /** Arguments of context->log as one line of text. */
    public static function message(array $values): string
    {
        return implode(' ', array_map(self::textOf(...), $values));
    }

    private static function textOf(mixed $value): string
    {
        return match (true) {
            is_string($value) => $value,
            is_bool($value) => $value ? 'true' : 'false',
            is_float($value), is_array($value), $value === null => (string) json_encode($value, self::JSON),
            $value instanceof \Throwable => (string) $value,
            $value instanceof \Stringable => (string) $value,
            is_object($value) => (string) json_encode($value, self::JSON),
            default => is_resource($value) ? get_resource_type($value) : (string) $value,
        };
    }
}
