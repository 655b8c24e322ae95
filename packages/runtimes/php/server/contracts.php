<?php

declare(strict_types=1);

namespace Treadle\Server;

/** User code could not be loaded; the message is for the error log. */
final class LoadFailure extends \RuntimeException
{
}

/** Levels and structured fields. */
final class Logger
{
    public function __construct(private readonly Logs $logs)
    {
    }

    public function debug(mixed $message, ?array $fields = null): void
    {
        $this->logs->append('debug', Logs::message([$message]), $fields);
    }

    public function info(mixed $message, ?array $fields = null): void
    {
        $this->logs->append('info', Logs::message([$message]), $fields);
    }

    public function warn(mixed $message, ?array $fields = null): void
    {
        $this->logs->append('warn', Logs::message([$message]), $fields);
    }

    public function error(mixed $message, ?array $fields = null): void
    {
        $this->logs->append('error', Logs::message([$message]), $fields);
    }
}

/** What a handler function gets. */
final class Context
{
    public readonly Logger $logger;

    public function __construct(public readonly Request $req, public readonly Response $res, private readonly Logs $logs)
    {
        $this->logger = new Logger($logs);
    }

    public function log(mixed ...$values): void
    {
        $this->logs->append('info', Logs::message($values));
    }

    public function error(mixed ...$values): void
    {
        $this->logs->append('error', Logs::message($values));
    }
}

/** Runs a file where it sees no variables of ours. */
function loadFile(string $file): mixed
{
    return require $file;
}

/** The user's function, and how its contract calls it. */
final class UserFunction
{
    private function __construct(private readonly \Closure $target, private readonly int $parameters)
    {
    }

    /** @throws LoadFailure */
    public static function load(Settings $settings): self
    {
        $folder = realpath($settings->code);
        $file = realpath("$settings->code/$settings->entrypoint");
        if ($file === false || !is_file($file)) {
            throw new LoadFailure("The entry file $settings->entrypoint does not exist.");
        }
        if (!str_starts_with($file, "$folder/")) {
            throw new LoadFailure("The entry file $settings->entrypoint is outside of the function's folder.");
        }
        chdir($folder);
        $autoload = ($settings->dependencies ?? $folder) . '/vendor/autoload.php';
        try {
            if (is_file($autoload)) {
                loadFile($autoload);
            }
            $returned = loadFile($file);
        } catch (\Throwable $error) {
            throw new LoadFailure((string) $error, 0, $error);
        }
        $name = $settings->script ? 'handle' : 'main';
        $target = is_callable($returned) ? $returned : (function_exists($name) ? $name : null);
        if ($target === null) {
            $hint = $settings->script ? 'Use function handle($data) { ... }.' : 'Use return function ($context) { ... };';
            throw new LoadFailure("$settings->entrypoint gives no function. $hint");
        }
        $closure = \Closure::fromCallable($target);
        return new self($closure, (new \ReflectionFunction($closure))->getNumberOfParameters());
    }

    /** The `handler` contract: what the function returned, or, in the older form, sent. */
    public function handle(Request $request, Logs $logs): Answer
    {
        $response = new Response();
        if ($this->parameters === 2) {
            $returned = ($this->target)($request, $response);
            $answer = $response->sent ?? $returned;
        } else {
            $answer = ($this->target)(new Context($request, $response, $logs));
        }
        if ($answer === null) {
            throw new \UnexpectedValueException('Return statement missing. return context.res.empty() if no response is expected.');
        }
        if (!$answer instanceof Answer) {
            throw new \UnexpectedValueException('The function must return a response, such as $context->res->json([ ... ]).');
        }
        return $answer;
    }

    /** The `script` contract; a throw of the script is an answer too. */
    public function script(string $body, Logs $logs): Answer
    {
        $type = ['content-type' => 'application/json'];
        try {
            return new Answer(200, $type, self::scriptJson($this->runScript($body, $logs)));
        } catch (BodyTooLarge | Disconnected $error) {
            throw $error;
        } catch (\Throwable $error) {
            $logs->append('error', (string) $error);
            $described = ['name' => $error::class, 'message' => $error->getMessage(), 'stack' => (string) $error];
            return new Answer(500, $type, self::scriptJson(['error' => $described]));
        }
    }

    private function runScript(string $body, Logs $logs): array
    {
        try {
            $data = json_decode($body, true, 512, JSON_THROW_ON_ERROR);
        } catch (\JsonException $error) {
            throw new \UnexpectedValueException("The request body is not valid JSON: {$error->getMessage()}");
        }
        if (!is_array($data)) {
            throw new \UnexpectedValueException('The request\'s body must be a JSON object.');
        }
        $data += ['payload' => null, 'variables' => [], 'meta' => [], 'flow' => []];
        $data['flow'] += ['variables' => []];
        $returned = ($this->target)($data) ?? $data;
        if (is_object($returned)) {
            $returned = (array) $returned;
        }
        if (!is_array($returned)) {
            throw new \UnexpectedValueException('handle must return an array, or nothing.');
        }
        $answer = [];
        foreach (['payload', 'variables', 'meta', 'flow'] as $part) {
            $answer[$part] = array_key_exists($part, $returned) ? $returned[$part] : $data[$part];
        }
        if ($answer['payload'] !== null && !is_string($answer['payload'])) {
            throw new \UnexpectedValueException('payload must be a string or null.');
        }
        // PHP has one array for lists and maps; these are maps, also when they are empty.
        $answer['variables'] = (object) $answer['variables'];
        $answer['meta'] = (object) $answer['meta'];
        $flow = (array) $answer['flow'];
        $answer['flow'] = [...$flow, 'variables' => (object) ($flow['variables'] ?? [])];
        if (isset($returned['response_code'])) {
            if (!in_array($returned['response_code'], [0, 1, 2, 3, 4], true)) {
                throw new \RangeException('response_code must be 0, 1, 2, 3 or 4.');
            }
            $answer['response_code'] = $returned['response_code'];
        }
        if (is_array($returned['logs'] ?? null)) {
            $answer['logs'] = array_map(fn ($line) => Logs::message([$line]), array_values($returned['logs']));
            foreach ($answer['logs'] as $line) {
                $logs->append('info', $line);
            }
        }
        return $answer;
    }

    private static function scriptJson(array $value): string
    {
        return json_encode($value, JSON_UNESCAPED_SLASHES | JSON_UNESCAPED_UNICODE | JSON_PRESERVE_ZERO_FRACTION | JSON_INVALID_UTF8_SUBSTITUTE | JSON_THROW_ON_ERROR);
    }
}
