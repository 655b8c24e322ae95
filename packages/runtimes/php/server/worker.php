<?php

declare(strict_types=1);

namespace Treadle\Server;

/** A process that runs user code: gets one connection at a time from the master, and gives it back when its requests are answered. */
final class Worker
{
    /** What the master is told: the connection can be kept, or is of no more use. */
    public const KEEP = 'k';
    public const CLOSE = 'c';

    private readonly Logs $logs;
    private ?UserFunction $function = null;
    /** What the last attempt to load failed with. */
    private ?LoadFailure $failure = null;
    private bool $isLoading = false;
    /** Set when loading ended PHP's work: this process answers once, and cannot load again. */
    private bool $isSpent = false;
    private float $loadSeconds = 0;
    private ?Connection $connection = null;
    /** Id of the execution in progress. */
    private ?string $running = null;
    private bool $logging = true;

    public function __construct(private readonly Settings $settings, private readonly \Socket $master, string $lockFile)
    {
        $this->logs = new Logs($settings->logFolder, $lockFile);
    }

    /** Serves until the master is gone. Does not return. */
    public function run(): never
    {
        $this->capture();
        try {
            $this->load();
        } catch (LoadFailure) {
            // The requests tell; each tries again.
        }
        $this->serveAll();
    }

    /** Serves what the master lends. Does not return. */
    private function serveAll(): never
    {
        while (($socket = $this->next()) !== null) {
            $this->connection = new Connection($socket);
            try {
                do {
                    $this->serve($this->connection);
                } while ($this->connection->keepAlive && $this->connection->hasMore());
            } catch (Disconnected) {
                $this->connection->keepAlive = false;
            }
            if ($this->isSpent) {
                break; // Without giving the connection back: it would be lent another.
            }
            $this->giveBack();
        }
        exit(0);
    }

    /** The next connection to serve; null when the master is gone. */
    private function next(): ?\Socket
    {
        $message = ['name' => [], 'buffer_size' => 1, 'controllen' => socket_cmsg_space(SOL_SOCKET, SCM_RIGHTS, 1)];
        do {
            $received = @socket_recvmsg($this->master, $message, 0);
        } while ($received === false && socket_last_error($this->master) === SOCKET_EINTR);
        return $received > 0 ? $message['control'][0]['data'][0] : null;
    }

    private function giveBack(): void
    {
        $keep = $this->connection->keepAlive;
        $this->connection = null;
        @socket_write($this->master, $keep ? self::KEEP : self::CLOSE, 1);
    }

    /** @throws LoadFailure */
    private function load(): UserFunction
    {
        if ($this->isSpent) {
            throw $this->failure;
        }
        if ($this->function === null) {
            $started = microtime(true);
            $this->isLoading = true;
            try {
                $this->function = UserFunction::load($this->settings);
                $this->failure = null;
            } catch (LoadFailure $failure) {
                throw $this->failure = $failure;
            } finally {
                $this->isLoading = false;
                $this->loadSeconds = microtime(true) - $started;
            }
        }
        return $this->function;
    }

    /** From here on what user code prints and what PHP warns of is taken, and the end of the process is answered. */
    private function capture(): void
    {
        ini_set('display_errors', '0');
        ini_set('html_errors', '0');
        ob_start(function (string $text): string {
            $this->logs->print($text);
            return '';
        }, 1);
        set_error_handler(function (int $kind, string $text, string $file, int $line): bool {
            if ((error_reporting() & $kind) !== 0) {
                $this->logs->append('warn', "$text in $file:$line");
            }
            return true;
        });
        pcntl_async_signals(true);
        pcntl_signal(SIGALRM, fn () => $this->leave('Execution timed out.'));
        pcntl_signal(SIGTERM, SIG_DFL);
        pcntl_signal(SIGINT, SIG_IGN);
        register_shutdown_function(function (): void {
            if ($this->running === null && !$this->isLoading) {
                return;
            }
            $error = error_get_last();
            $isFatal = $error !== null && ($error['type'] & (E_ERROR | E_PARSE | E_CORE_ERROR | E_COMPILE_ERROR | E_USER_ERROR)) !== 0;
            $reason = !$isFatal ? 'The function has ended its process.' : "{$error['message']} in {$error['file']}:{$error['line']}";
            if ($this->running !== null) {
                $this->leave($reason, $this->isLoading ? 503 : 500);
            }
            $this->isLoading = false;
            $this->isSpent = true;
            $this->failure = new LoadFailure($reason);
            $this->serveAll();
        });
    }

    /** Answers the execution in progress and ends this process, of which nobody knows what user code still does. */
    private function leave(string $reason, int $status = 500): never
    {
        if ($this->running !== null) {
            $id = $this->running;
            $this->running = null;
            $this->logs->append('error', $reason);
            $this->logs->end();
            try {
                $this->connection->keepAlive = false;
                if (!$this->connection->answered) {
                    $this->connection->answer($status, $this->idHeader($id), '');
                }
            } catch (Disconnected) {
                // Nobody is there to be told.
            }
            $this->giveBack();
        }
        posix_kill(posix_getpid(), SIGKILL);
        exit(1);
    }

    /** @return list<array{string, string}> */
    private function idHeader(string $id): array
    {
        return [['content-type', 'text/plain; charset=utf-8'], ['x-open-runtimes-log-id', $this->logging ? $id : '']];
    }

    /** @param list<array{string, string}> $more headers */
    private function plainText(Connection $connection, int $status, string $text, array $more = []): void
    {
        $connection->answer($status, [['content-type', 'text/plain; charset=utf-8'], ...$more], $text);
    }

    private function tellLoad(Connection $connection): void
    {
        $connection->drain();
        if ($this->failure === null) {
            $this->plainText($connection, 200, 'OK');
        } else {
            $this->plainText($connection, 503, $this->failure->getMessage(), [['x-open-runtimes-load', 'failed']]);
        }
    }

    /** Answers one request. @throws Disconnected */
    private function serve(Connection $connection): void
    {
        try {
            [$method, $target, $headers] = $connection->readHead();
            if ($this->isSpent) {
                $connection->keepAlive = false;
            }
            if ($target === '/__opr/health' || $target === '/__opr/timings') {
                $connection->drain();
                $text = $target === '/__opr/health' ? 'OK' : @file_get_contents($this->settings->timings) . sprintf("load=%.3f\n", $this->loadSeconds);
                $this->plainText($connection, 200, $text);
                return;
            }
            $control = $this->settings->control($headers);
            if (is_string($control)) {
                $connection->drain();
                $this->plainText($connection, 500, $control);
                return;
            }
            if ($target === '/__opr/load') {
                $this->tellLoad($connection);
                return;
            }
            if ($connection->saysTooLarge()) {
                throw new BodyTooLarge('The request body is larger than 20 MiB.');
            }
            $this->execute($connection, $method, $target, $headers, $control);
        } catch (BodyTooLarge $error) {
            $connection->drain();
            $this->plainText($connection, 413, $error->getMessage());
        } catch (BadRequest $error) {
            $connection->keepAlive = false;
            $this->plainText($connection, $error->getCode(), $error->getMessage());
        }
    }

    /**
     * Runs user code for one request and answers it.
     *
     * @param array<string, string> $headers
     * @param array{int, bool, string} $control
     */
    private function execute(Connection $connection, string $method, string $target, array $headers, array $control): void
    {
        [$seconds, $this->logging, $id] = $control;
        $this->logs->begin($id, !$this->logging);
        $this->running = $id;
        $stream = null;
        try {
            if ($seconds > 0) {
                pcntl_alarm($seconds);
            }
            [$status, $answered, $body, $stream] = $this->result($connection, $method, $target, $headers);
            if ($stream !== null) {
                $connection->beginStream($status, [...$answered, ['x-open-runtimes-log-id', $this->logging ? $id : '']]);
                $this->send($connection, $stream);
            }
        } finally {
            if ($seconds > 0) {
                pcntl_alarm(0);
            }
            $this->running = null;
            $this->logs->end();
        }
        if ($stream === null) {
            // What the function did not read of the body has to be gone before the next request, and may be too much.
            if (!$connection->drain()) {
                throw new BodyTooLarge('The request body is larger than 20 MiB.');
            }
            $connection->answer($status, [...$answered, ['x-open-runtimes-log-id', $this->logging ? $id : '']], $body);
        }
    }

    /**
     * What user code makes of a request: status, headers, body, and the source where it is a stream.
     *
     * @param array<string, string> $headers
     * @return array{int, list<array{string, string}>, string, ?iterable}
     */
    private function result(Connection $connection, string $method, string $target, array $headers): array
    {
        $type = [['content-type', 'text/plain; charset=utf-8']];
        try {
            $function = $this->load();
        } catch (LoadFailure $failure) {
            $this->logs->append('error', $failure->getMessage());
            return [503, $type, '', null];
        }
        try {
            $visible = array_filter($headers, fn (string $name) => !str_starts_with($name, 'x-open-runtimes-'), ARRAY_FILTER_USE_KEY);
            $request = new Request($connection, $method, $target, [...$visible, ...$this->settings->enforcedHeaders]);
            $answer = $this->settings->script ? $function->script($request->bodyText, $this->logs) : $function->handle($request, $this->logs);
            return [$answer->statusCode, $answer->wireHeaders(), $answer->body, $answer->source];
        } catch (BodyTooLarge | BadRequest | Disconnected $error) {
            throw $error;
        } catch (\Throwable $error) {
            $this->logs->append('error', (string) $error);
            return [500, $type, '', null];
        }
    }

    /** Sends the pieces of a source; an error of it breaks the connection. @throws Disconnected */
    private function send(Connection $connection, iterable $source): void
    {
        try {
            foreach ($source as $piece) {
                $connection->sendPiece((string) $piece);
            }
            $connection->drain();
            $connection->endStream();
        } catch (Disconnected $error) {
            throw $error;
        } catch (\Throwable $error) {
            $this->logs->append('error', (string) $error);
            $connection->keepAlive = false; // The master breaks it.
        }
    }
}
