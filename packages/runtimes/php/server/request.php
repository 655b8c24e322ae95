<?php

declare(strict_types=1);

namespace Treadle\Server;

/**
 * What a handler function sees of a request: `$context->req` of Open Runtimes v5. The body is read when it is first asked for.
 *
 * @property-read mixed $body array for application/json, else text
 * @property-read string $bodyText
 * @property-read mixed $bodyJson
 * @property-read string $bodyBinary
 * @property-read \Generator<int, string> $bodyStream
 * @property-read array<string, string> $query
 * @property-read string $payload
 * @property-read array<string, string> $env
 */
final class Request
{
    public readonly string $url;
    public readonly string $scheme;
    public readonly string $host;
    public readonly int $port;
    public readonly string $path;
    public readonly string $queryString;
    private ?string $bytes = null;
    private bool $streaming = false;

    /** @param array<string, string> $headers those for user code */
    public function __construct(
        private readonly Connection $connection,
        public readonly string $method,
        string $target,
        public readonly array $headers,
    ) {
        $scheme = $headers['x-forwarded-proto'] ?? 'http';
        $authority = $headers['host'] ?? 'localhost';
        if (preg_match('~^([a-z][a-z0-9+.-]*)://([^/?#]*)(.*)$~is', $target, $absolute)) {
            [, $scheme, $authority, $target] = $absolute;
            $scheme = strtolower($scheme);
        }
        $target = explode('#', $target, 2)[0];
        [$path, $this->queryString] = explode('?', $target, 2) + [1 => ''];
        $this->path = $path === '' ? '/' : $path;
        $this->scheme = $scheme;
        $default = $scheme === 'https' ? 443 : 80;
        $hasPort = preg_match('/^(.*):(\d*)$/D', $authority, $parts) === 1;
        $this->host = $hasPort ? $parts[1] : $authority;
        $this->port = ($hasPort ? (int) $parts[2] : 0) ?: $default;
        $port = $this->port === $default ? '' : ":$this->port";
        $query = $this->queryString === '' ? '' : "?$this->queryString";
        $this->url = "$scheme://$this->host$port$this->path$query";
    }

    public function __get(string $name): mixed
    {
        return match ($name) {
            'bodyBinary', 'bodyText', 'bodyRaw', 'payload' => $this->bytes(),
            'bodyJson' => $this->json(),
            'body' => $this->body(),
            'bodyStream' => $this->stream(),
            'query' => $this->query(),
            'env', 'variables' => getenv(),
            default => throw new \Error("A request has no $name."),
        };
    }

    public function __isset(string $name): bool
    {
        return in_array($name, ['body', 'bodyBinary', 'bodyText', 'bodyRaw', 'bodyJson', 'bodyStream', 'payload', 'query', 'env', 'variables'], true);
    }

    private function bytes(): string
    {
        if ($this->bytes === null) {
            if ($this->streaming) {
                throw new \LogicException('The body was asked for as a stream.');
            }
            $this->bytes = '';
            while (($piece = $this->connection->readPiece()) !== null) {
                $this->bytes .= $piece;
            }
        }
        return $this->bytes;
    }

    private function json(): mixed
    {
        try {
            return json_decode($this->bytes(), true, 512, JSON_THROW_ON_ERROR);
        } catch (\JsonException $error) {
            throw new \UnexpectedValueException("The request body is not valid JSON: {$error->getMessage()}", 0, $error);
        }
    }

    private function body(): mixed
    {
        if (!str_starts_with(strtolower($this->headers['content-type'] ?? ''), 'application/json')) {
            return $this->bytes();
        }
        return $this->bytes() === '' ? [] : $this->json();
    }

    private function stream(): \Generator
    {
        if ($this->bytes !== null) {
            return (function () {
                yield $this->bytes;
            })();
        }
        $this->streaming = true;
        return (function () {
            while (($piece = $this->connection->readPiece()) !== null) {
                yield $piece;
            }
        })();
    }

    /** @return array<string, string> */
    private function query(): array
    {
        $query = [];
        foreach (explode('&', $this->queryString) as $part) {
            [$key, $value] = explode('=', $part, 2) + [1 => ''];
            if ($key !== '') {
                $query[$key] = $value;
            }
        }
        return $query;
    }
}
