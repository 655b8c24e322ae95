<?php

declare(strict_types=1);

namespace Treadle\Server;

/**
 * Takes connections and watches them. One on which a request arrives is lent to a free worker (its descriptor is passed over a socket pair), which
 * answers and gives it back; so any number of connections may be open, and a slow call holds up one worker only.
 * Workers are started as they are needed.
 */
final class Master
{
    private const MAX_WORKERS = 16;
    /** A request that has waited for this long gets a new worker: shorter waits are over before one has started. */
    private const WAIT_SECONDS = 0.01;
    /** A worker that has had nothing to do for this long is ended; one stays. */
    private const IDLE_SECONDS = 30;
    /** How long the other side may take for a piece of a request, or to take a piece of a response. */
    private const PATIENCE_SECONDS = 60;
    private const HEALTH = 'GET /__opr/health ';

    private \Socket $listener;
    private readonly string $lockFile;
    /** @var array<int, \Socket> Connections on which nobody works, by number. */
    private array $idle = [];
    /** @var array<int, array{\Socket, float}> Those with a request that waits for a worker, oldest first, and since when. */
    private array $waiting = [];
    /** @var array<int, array{\Socket, int, float}> Workers by process id: their socket, the number of the connection they have (0: none), and since when they have none. */
    private array $workers = [];
    /** @var array<int, \Socket> Connections that workers have. */
    private array $lent = [];
    private int $lastNumber = 0;
    private bool $ending = false;

    public function __construct(private readonly Settings $settings)
    {
        $this->lockFile = (string) tempnam(sys_get_temp_dir(), 'treadle-php-');
        $this->listener = $this->listen();
    }

    private function listen(): \Socket
    {
        $path = $this->settings->socket;
        $socket = socket_create($path === null ? AF_INET : AF_UNIX, SOCK_STREAM, 0);
        if ($path === null) {
            socket_set_option($socket, SOL_SOCKET, SO_REUSEADDR, 1);
            $bound = @socket_bind($socket, '0.0.0.0', $this->settings->port);
        } else {
            @unlink($path);
            $bound = @socket_bind($socket, $path);
        }
        if (!$bound || !socket_listen($socket, 512)) {
            fwrite(STDERR, 'The server could not start: ' . socket_strerror(socket_last_error($socket)) . "\n");
            exit(1);
        }
        socket_set_nonblock($socket);
        return $socket;
    }

    /** Does not return. */
    public function serve(): never
    {
        pcntl_async_signals(true);
        foreach ([SIGTERM, SIGINT] as $signal) {
            pcntl_signal($signal, function (): void {
                $this->ending = true;
            });
        }
        fwrite(STDOUT, "HTTP server successfully started!\n");
        $this->startWorker();
        while (!$this->ending) {
            $this->turn();
        }
        foreach (array_keys($this->workers) as $pid) {
            posix_kill($pid, SIGTERM);
        }
        @unlink($this->lockFile);
        exit(0);
    }

    private function startWorker(): void
    {
        if (!socket_create_pair(AF_UNIX, SOCK_STREAM, 0, $pair)) {
            return;
        }
        $pid = @pcntl_fork();
        if ($pid === 0) {
            // The worker has nothing of what the master watches.
            socket_close($this->listener);
            $this->idle = $this->waiting = $this->workers = $this->lent = [];
            unset($pair[0]);
            (new Worker($this->settings, $pair[1], $this->lockFile))->run();
        }
        if ($pid > 0) {
            $this->workers[$pid] = [$pair[0], 0, microtime(true)];
        }
    }

    private function turn(): void
    {
        $read = ['listener' => $this->listener];
        foreach ($this->idle as $number => $socket) {
            $read["c$number"] = $socket;
        }
        foreach ($this->workers as $pid => [$socket]) {
            $read["w$pid"] = $socket;
        }
        $write = $except = null;
        $patient = count($this->waiting) > 0 && count($this->workers) < self::MAX_WORKERS;
        $seconds = count($this->workers) > 1 ? self::IDLE_SECONDS : 3600;
        $ready = @socket_select($read, $write, $except, $patient ? 0 : $seconds, $patient ? (int) (self::WAIT_SECONDS * 1e6) : 0);
        if ($ready === false) {
            return;
        }
        foreach ($read as $key => $socket) {
            if ($key === 'listener') {
                $this->accept();
            } elseif ($key[0] === 'c') {
                $this->arrived((int) substr($key, 1), $socket);
            } else {
                $this->hear((int) substr($key, 1), $socket);
            }
        }
        $this->lendAll();
        $this->endIdle();
    }

    /** Ends workers without work, but for one; the one started last has been idle for longest. */
    private function endIdle(): void
    {
        while (count($this->workers) > 1) {
            $pid = array_key_last($this->workers);
            [$socket, $busyWith, $since] = $this->workers[$pid];
            if ($busyWith !== 0 || microtime(true) - $since < self::IDLE_SECONDS) {
                return;
            }
            unset($this->workers[$pid]);
            socket_close($socket);
            posix_kill($pid, SIGKILL);
            pcntl_waitpid($pid, $status);
        }
    }

    private function accept(): void
    {
        while (($socket = @socket_accept($this->listener)) !== false) {
            if ($this->settings->socket === null) {
                socket_set_option($socket, SOL_TCP, TCP_NODELAY, 1);
            }
            socket_set_option($socket, SOL_SOCKET, SO_RCVTIMEO, ['sec' => self::PATIENCE_SECONDS, 'usec' => 0]);
            socket_set_option($socket, SOL_SOCKET, SO_SNDTIMEO, ['sec' => self::PATIENCE_SECONDS, 'usec' => 0]);
            $this->idle[++$this->lastNumber] = $socket;
        }
    }

    /** Something came on a connection: a request, or its end. Health is answered here, so that busy workers do not hold it up. */
    private function arrived(int $number, \Socket $socket): void
    {
        unset($this->idle[$number]);
        $received = @socket_recv($socket, $start, 4096, MSG_PEEK | MSG_DONTWAIT);
        if (!$received) {
            socket_close($socket);
            return;
        }
        if (str_starts_with($start, self::HEALTH) && str_ends_with($start, "\r\n\r\n") && !stripos($start, "\r\nconnection: close")) {
            socket_recv($socket, $start, $received, MSG_DONTWAIT);
            @socket_send($socket, $answer = "HTTP/1.1 200 OK\r\ncontent-type: text/plain; charset=utf-8\r\ncontent-length: 2\r\n\r\nOK", strlen($answer), MSG_DONTWAIT | MSG_NOSIGNAL);
            $this->idle[$number] = $socket;
            return;
        }
        $this->waiting[$number] = [$socket, microtime(true)];
    }

    /** A worker has given its connection back, or is gone. */
    private function hear(int $pid, \Socket $socket): void
    {
        $number = $this->workers[$pid][1];
        $word = @socket_read($socket, 1);
        if ($word === Worker::KEEP) {
            $this->idle[$number] = $this->lent[$number];
        } elseif ($number !== 0) {
            @socket_shutdown($this->lent[$number], 2);
        }
        unset($this->lent[$number]);
        if ($word === Worker::KEEP || $word === Worker::CLOSE) {
            $this->workers[$pid][1] = 0;
            $this->workers[$pid][2] = microtime(true);
            return;
        }
        unset($this->workers[$pid]);
        socket_close($socket);
        pcntl_waitpid($pid, $status);
    }

    /** Lends what waits to the workers that are free. The one used last comes first, so that few stay warm. */
    private function lendAll(): void
    {
        foreach ($this->workers as $pid => [$worker, $busyWith]) {
            $number = array_key_first($this->waiting);
            if ($number === null) {
                return;
            }
            if ($busyWith === 0) {
                $this->lend($pid, $worker, $number);
            }
        }
        $number = array_key_first($this->waiting);
        if ($number === null || count($this->workers) >= self::MAX_WORKERS) {
            return;
        }
        if (count($this->workers) === 0 || microtime(true) - $this->waiting[$number][1] >= self::WAIT_SECONDS) {
            $this->startWorker();
        }
    }

    private function lend(int $pid, \Socket $worker, int $number): void
    {
        [$socket] = $this->waiting[$number];
        // PHP 8 passes on the descriptor of a stream; of a Socket it passes descriptor 0.
        $passed = [socket_export_stream($socket)];
        $message = ['iov' => ['.'], 'control' => [['level' => SOL_SOCKET, 'type' => SCM_RIGHTS, 'data' => $passed]]];
        if (@socket_sendmsg($worker, $message, MSG_NOSIGNAL) === false) {
            return; // It has ended; the next turn hears of it.
        }
        unset($this->waiting[$number]);
        $this->lent[$number] = $socket;
        $this->workers[$pid][1] = $number;
    }
}
