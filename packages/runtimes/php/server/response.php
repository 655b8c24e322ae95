<?php

declare(strict_types=1);

namespace Treadle\Server;

/** What a function returns: made by the methods of Response. */
final class Answer
{
    /** @param array<string, string|list<string>> $headers */
    public function __construct(
        public readonly int $statusCode,
        public readonly array $headers,
        public readonly string $body = '',
        public readonly ?iterable $source = null,
    ) {
    }

    /** Headers as they go out. @return list<array{string, string}> */
    public function wireHeaders(): array
    {
        if ($this->statusCode < 200 || $this->statusCode > 599) {
            throw new \RangeException("The status code must be from 200 to 599, got $this->statusCode.");
        }
        $type = 'text/plain';
        $headers = [];
        foreach ($this->headers as $key => $given) {
            $name = strtolower((string) $key);
            // The server counts the bytes and holds the connection.
            if (str_starts_with($name, 'x-open-runtimes-') || in_array($name, ['connection', 'content-length', 'keep-alive', 'transfer-encoding', 'upgrade'], true)) {
                continue;
            }
            if (!preg_match('/^[!#$%&\'*+\-.^_`|~0-9a-z]+$/D', $name)) {
                throw new \InvalidArgumentException("\"$key\" cannot be the name of a header.");
            }
            foreach (is_array($given) ? $given : [$given] as $value) {
                $value = (string) $value;
                if (strpbrk($value, "\r\n\0") !== false) {
                    throw new \InvalidArgumentException("The header \"$key\" has a value with characters that headers cannot have.");
                }
                if ($name === 'content-type') {
                    $type = $value;
                } else {
                    $headers[] = [$name, $value];
                }
            }
        }
        $headers[] = ['content-type', self::contentType($type)];
        return $headers;
    }

    /** Lower case, as Open Runtimes has it, but for multipart, whose boundary is a matter of case; with a character set. */
    private static function contentType(string $value): string
    {
        $lower = strtolower($value);
        if (str_starts_with($lower, 'multipart/')) {
            return $value;
        }
        return str_contains($lower, 'charset=') ? $lower : "$lower; charset=utf-8";
    }
}

/** `$context->res`: makes answers. In the older form, `(req, res)`, the first one made is also the one that is sent. */
final class Response
{
    public ?Answer $sent = null;

    private function make(int $status, array $headers, string $body = '', ?iterable $source = null): Answer
    {
        $answer = new Answer($status, $headers, $body, $source);
        $this->sent ??= $answer;
        return $answer;
    }

    private static function typed(array $headers, string $type): array
    {
        return isset(array_change_key_case($headers)['content-type']) ? $headers : [...$headers, 'content-type' => $type];
    }

    public function text(string|int|float|\Stringable $body, int $statusCode = 200, array $headers = []): Answer
    {
        return $this->make($statusCode, $headers, (string) $body);
    }

    public function binary(string $bytes, int $statusCode = 200, array $headers = []): Answer
    {
        return $this->make($statusCode, self::typed($headers, 'application/octet-stream'), $bytes);
    }

    public function json(mixed $value, int $statusCode = 200, array $headers = []): Answer
    {
        $text = json_encode($value, JSON_UNESCAPED_SLASHES | JSON_UNESCAPED_UNICODE | JSON_PRESERVE_ZERO_FRACTION | JSON_THROW_ON_ERROR);
        return $this->make($statusCode, self::typed($headers, 'application/json'), $text);
    }

    public function redirect(string $url, int $statusCode = 301, array $headers = []): Answer
    {
        return $this->make($statusCode, [...$headers, 'location' => $url]);
    }

    public function empty(): Answer
    {
        return $this->make(204, []);
    }

    /** Sends each piece of text or bytes as the source (a generator, an array) yields it. */
    public function stream(iterable $source, int $statusCode = 200, array $headers = []): Answer
    {
        return $this->make($statusCode, $headers, '', $source);
    }

    /** @deprecated Use text. */
    public function send(string $body, int $statusCode = 200, array $headers = []): Answer
    {
        return $this->make($statusCode, $headers, $body);
    }
}
