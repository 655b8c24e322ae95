<?php

declare(strict_types=1);

namespace Treadle\Server;

/** The other side broke the connection, or does not answer. */
final class Disconnected extends \RuntimeException
{
}

/** What was sent is no HTTP/1.1; the code is the status to answer with. */
final class BadRequest extends \RuntimeException
{
}

/** The request's body is larger than Settings::MAX_BODY_BYTES. */
final class BodyTooLarge extends \RuntimeException
{
}

/** One HTTP/1.1 connection, for the time that a worker has it. */
final class Connection
{
    private const MAX_HEAD_BYTES = 64 * 1024;
    public const REASONS = [
        200 => 'OK', 201 => 'Created', 202 => 'Accepted', 204 => 'No Content', 301 => 'Moved Permanently', 302 => 'Found', 304 => 'Not Modified',
        400 => 'Bad Request', 401 => 'Unauthorized', 403 => 'Forbidden', 404 => 'Not Found', 413 => 'Content Too Large',
        500 => 'Internal Server Error', 503 => 'Service Unavailable',
    ];

    private string $buffer = '';
    /** Bytes of the body that have not been read; null: it comes in chunks. */
    private ?int $left = 0;
    private bool $bodyEnded = true;
    private bool $wantsContinue = false;
    private int $bodyBytes = 0;
    public bool $keepAlive = true;
    private string $method = '';
    private bool $isHttp10 = false;
    private bool $chunking = false;
    public bool $answered = false;

    public function __construct(private readonly \Socket $socket)
    {
    }

    /** Whether bytes of a next request have been read already. */
    public function hasMore(): bool
    {
        return $this->buffer !== '';
    }

    private function fill(): void
    {
        if (!@socket_recv($this->socket, $piece, 65_536, 0)) {
            throw new Disconnected();
        }
        $this->buffer .= $piece;
    }

    /**
     * Reads the head of a request.
     *
     * @return array{string, string, array<string, string>} method, target, headers: lower-case names, several of one name joined
     */
    public function readHead(): array
    {
        while (($end = strpos($this->buffer, "\r\n\r\n")) === false) {
            if (strlen($this->buffer) > self::MAX_HEAD_BYTES) {
                throw new BadRequest('The head of the request is too long.', 431);
            }
            $this->fill();
        }
        $lines = explode("\r\n", ltrim(substr($this->buffer, 0, $end), "\r\n"));
        $this->buffer = substr($this->buffer, $end + 4);
        if (!preg_match('~^([!#$%&\'*+\-.^_`|\~0-9A-Za-z]+) ([^\s\x00-\x1f]+) HTTP/1\.([01])$~D', $lines[0], $start)) {
            throw new BadRequest('The request line is malformed.', 400);
        }
        $headers = [];
        unset($lines[0]);
        foreach ($lines as $line) {
            $colon = strpos($line, ':');
            if (!$colon || strpbrk($name = substr($line, 0, $colon), " \t\r\n\0") !== false || strpbrk($line, "\r\n\0") !== false) {
                throw new BadRequest('A header is malformed.', 400);
            }
            $name = strtolower($name);
            $value = trim(substr($line, $colon + 1), " \t");
            $headers[$name] = isset($headers[$name]) ? "{$headers[$name]}, $value" : $value;
        }
        [, $this->method, $target, $minor] = $start;
        $this->isHttp10 = $minor === '0';
        $this->readFraming($headers);
        return [$this->method, $target, $headers];
    }

    /** @param array<string, string> $headers */
    private function readFraming(array $headers): void
    {
        $this->answered = $this->chunking = false;
        $this->bodyBytes = 0;
        $connection = strtolower($headers['connection'] ?? '');
        $this->keepAlive = $this->isHttp10 ? $connection === 'keep-alive' : !str_contains($connection, 'close');
        $this->wantsContinue = strtolower($headers['expect'] ?? '') === '100-continue';
        $coding = strtolower($headers['transfer-encoding'] ?? '');
        $length = $headers['content-length'] ?? null;
        if ($coding !== '') {
            if ($coding !== 'chunked' || $length !== null || $this->isHttp10) {
                throw new BadRequest('The request does not say clearly how long its body is.', 400);
            }
            $this->left = null;
        } elseif ($length !== null) {
            if (!preg_match('/^\d{1,15}$/D', $length)) {
                throw new BadRequest('The header content-length is malformed.', 400);
            }
            $this->left = (int) $length;
        } else {
            $this->left = 0;
        }
        $this->bodyEnded = $this->left === 0;
    }

    /** Whether the head says that the body is larger than is taken. */
    public function saysTooLarge(): bool
    {
        return $this->left !== null && $this->left > Settings::MAX_BODY_BYTES;
    }

    /** A piece of the body as it comes; null at its end. */
    public function readPiece(bool $limited = true): ?string
    {
        if ($this->bodyEnded) {
            return null;
        }
        if ($this->wantsContinue && $this->buffer === '') {
            $this->wantsContinue = false;
            $this->write("HTTP/1.1 100 Continue\r\n\r\n");
        }
        $piece = $this->left === null ? $this->readChunk() : $this->readCounted();
        $this->bodyBytes += strlen($piece ?? '');
        if ($limited && $this->bodyBytes > Settings::MAX_BODY_BYTES) {
            throw new BodyTooLarge('The request body is larger than 20 MiB.');
        }
        return $piece;
    }

    private function readCounted(): string
    {
        if ($this->buffer === '') {
            $this->fill();
        }
        $piece = strlen($this->buffer) <= $this->left ? $this->buffer : substr($this->buffer, 0, $this->left);
        $this->buffer = substr($this->buffer, strlen($piece));
        $this->left -= strlen($piece);
        $this->bodyEnded = $this->left === 0;
        return $piece;
    }

    private function readLine(): string
    {
        while (($end = strpos($this->buffer, "\r\n")) === false) {
            if (strlen($this->buffer) > 8192) {
                throw new BadRequest('A chunk of the body is malformed.', 400);
            }
            $this->fill();
        }
        $line = substr($this->buffer, 0, $end);
        $this->buffer = substr($this->buffer, $end + 2);
        return $line;
    }

    private function readChunk(): ?string
    {
        if (!preg_match('/^([0-9a-f]{1,8})[ \t]*(?:;|$)/i', $this->readLine(), $match)) {
            throw new BadRequest('A chunk of the body is malformed.', 400);
        }
        $length = (int) hexdec($match[1]);
        if ($length === 0) {
            while ($this->readLine() !== '') {
                // Trailers are nobody's.
            }
            $this->bodyEnded = true;
            return null;
        }
        if ($length > Settings::MAX_BODY_BYTES) {
            $this->skip($length);
            $this->bodyBytes += $length;
            $piece = '';
        } else {
            while (strlen($this->buffer) < $length + 2) {
                $this->fill();
            }
            $piece = substr($this->buffer, 0, $length);
            $this->buffer = substr($this->buffer, $length);
        }
        if ($this->readLine() !== '') {
            throw new BadRequest('A chunk of the body is malformed.', 400);
        }
        return $piece;
    }

    private function skip(int $length): void
    {
        while ($length > 0) {
            if ($this->buffer === '') {
                $this->fill();
            }
            $taken = min($length, strlen($this->buffer));
            $this->buffer = substr($this->buffer, $taken);
            $length -= $taken;
        }
    }

    /** Reads what is left of the body, so that the next request can follow; tells whether it was small enough. */
    public function drain(): bool
    {
        while (!$this->bodyEnded) {
            $this->readPiece(false);
        }
        return $this->bodyBytes <= Settings::MAX_BODY_BYTES;
    }

    private function write(string $bytes): void
    {
        while ($bytes !== '') {
            $sent = @socket_send($this->socket, $bytes, strlen($bytes), MSG_NOSIGNAL);
            if (!$sent) {
                $this->keepAlive = false;
                throw new Disconnected();
            }
            $bytes = $sent === strlen($bytes) ? '' : substr($bytes, $sent);
        }
    }

    /** @param list<array{string, string}> $headers */
    private function head(int $status, array $headers): string
    {
        $text = "HTTP/1.1 $status " . (self::REASONS[$status] ?? 'Status') . "\r\n";
        foreach ($headers as [$name, $value]) {
            $text .= "$name: $value\r\n";
        }
        if (!$this->keepAlive) {
            $text .= "connection: close\r\n";
        } elseif ($this->isHttp10) {
            $text .= "connection: keep-alive\r\n";
        }
        return $text;
    }

    /** @param list<array{string, string}> $headers */
    public function answer(int $status, array $headers, string $body): void
    {
        $this->answered = true;
        $head = $this->head($status, $headers);
        if ($status === 204 || $status === 304) {
            $this->write("$head\r\n");
            return;
        }
        $head .= 'content-length: ' . strlen($body) . "\r\n\r\n";
        $this->write($this->method === 'HEAD' ? $head : $head . $body);
    }

    /** @param list<array{string, string}> $headers */
    public function beginStream(int $status, array $headers): void
    {
        $this->answered = true;
        $this->chunking = !$this->isHttp10;
        if ($this->isHttp10) {
            $this->keepAlive = false;
        }
        $this->write($this->head($status, $headers) . ($this->chunking ? "transfer-encoding: chunked\r\n\r\n" : "\r\n"));
    }

    public function sendPiece(string $piece): void
    {
        if ($piece !== '' && $this->method !== 'HEAD') {
            $this->write($this->chunking ? dechex(strlen($piece)) . "\r\n$piece\r\n" : $piece);
        }
    }

    public function endStream(): void
    {
        if ($this->chunking && $this->method !== 'HEAD') {
            $this->write("0\r\n\r\n");
        }
    }
}
