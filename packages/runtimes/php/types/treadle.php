<?php

// Stubs for the editor; nothing loads this file.

namespace Treadle\Server;

/**
 * @property-read mixed $body array for application/json, else text
 * @property-read string $bodyText
 * @property-read mixed $bodyJson
 * @property-read string $bodyBinary
 * @property-read \Generator<int, string> $bodyStream
 * @property-read array<string, string> $query
 * @property-read string $payload
 * @property-read array<string, string> $env
 */
class Request
{
    public readonly string $method;
    public readonly string $url;
    public readonly string $scheme;
    public readonly string $host;
    public readonly int $port;
    public readonly string $path;
    public readonly string $queryString;
    /** @var array<string, string> */
    public readonly array $headers;
}

class Answer
{
}

class Response
{
    public function text(string|int|float|\Stringable $body, int $statusCode = 200, array $headers = []): Answer;
    public function binary(string $bytes, int $statusCode = 200, array $headers = []): Answer;
    public function json(mixed $value, int $statusCode = 200, array $headers = []): Answer;
    public function redirect(string $url, int $statusCode = 301, array $headers = []): Answer;
    public function empty(): Answer;
    public function stream(iterable $source, int $statusCode = 200, array $headers = []): Answer;
    public function send(string $body, int $statusCode = 200, array $headers = []): Answer;
}

class Logger
{
    public function debug(mixed $message, ?array $fields = null): void;
    public function info(mixed $message, ?array $fields = null): void;
    public function warn(mixed $message, ?array $fields = null): void;
    public function error(mixed $message, ?array $fields = null): void;
}

class Context
{
    public readonly Request $req;
    public readonly Response $res;
    public readonly Logger $logger;
    public function log(mixed ...$values): void;
    public function error(mixed ...$values): void;
}
