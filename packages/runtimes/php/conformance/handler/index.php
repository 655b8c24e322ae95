<?php

// The conformance function: does what the header x-action says (test/conformance/ACTIONS.md).

function parts(): Generator
{
    yield "one\n";
    usleep(200_000);
    yield "two\n";
    usleep(200_000);
    yield "three\n";
}

function repeated(int $size): Generator
{
    $piece = str_repeat('a', 65_536);
    for ($left = $size; $left > 0; $left -= strlen($piece)) {
        yield $left >= strlen($piece) ? $piece : substr($piece, 0, $left);
    }
}

function failing(): Generator
{
    yield "one\n";
    usleep(20_000);
    throw new Exception('The source failed');
}

function environment(string $name): ?string
{
    $value = getenv($name);
    return $value === false ? null : $value;
}

/** The object that a JSON body was, which is an empty array in PHP when it was empty. */
function asObject(mixed $value): mixed
{
    return $value === [] ? new stdClass() : $value;
}

return function ($context) {
    $req = $context->req;
    $res = $context->res;
    $header = fn (string $name): string => $req->headers[$name] ?? 'missing';
    switch ($req->headers['x-action'] ?? '') {
        case 'plainText':
            return $res->text('Hello World 👋');
        case 'json':
            return $res->json(['json' => true, 'message' => 'Developers are awesome.']);
        case 'charset':
            return $res->text('ok', 200, ['content-type' => 'text/plain; charset=iso-8859-1']);
        case 'upperCaseType':
            return $res->text('ok', 200, ['content-type' => 'TEXT/HTML']);
        case 'multipart':
            return $res->text('--x--', 200, ['content-type' => 'multipart/form-data; boundary=12345']);
        case 'redirect':
            return $res->redirect('https://example.com/there');
        case 'empty':
            return $res->empty();
        case 'binary':
            return $res->binary("\x00\x0a\xff");
        case 'noResponse':
            return;
        case 'double':
            $res->text('This should be ignored.');
            return $res->text('This should be returned.');
        case 'headers':
            return $res->text('OK', 200, [
                'first-header' => 'first-value',
                'second-header' => $header('x-open-runtimes-custom-in-header'),
                'third-header' => $header('cookie'),
                'x-open-runtimes-custom-out-header' => 'third-value',
            ]);
        case 'setCookie':
            return $res->text('OK', 200, ['set-cookie' => ['a=1; Path=/', 'b=2; HttpOnly']]);
        case 'status':
            return $res->text('status', (int) $header('x-status'));
        case 'method':
            return $res->text($req->method);
        case 'url':
            return $res->json([
                'url' => $req->url,
                'port' => $req->port,
                'path' => $req->path,
                'query' => asObject($req->query),
                'queryString' => $req->queryString,
                'scheme' => $req->scheme,
                'host' => $req->host,
            ]);
        case 'requestHeaders':
            return $res->json($req->headers);
        case 'bodyText':
            return $res->text($req->bodyText);
        case 'bodyJson':
            return $res->json(asObject($req->bodyJson));
        case 'body':
            return $res->json(['kind' => is_string($req->body) ? 'text' : 'object', 'body' => asObject($req->body)]);
        case 'bodyBinary':
            return $res->binary($req->bodyBinary);
        case 'environment':
            return $res->json([
                'given' => environment('CUSTOM_ENV_VAR'),
                'missing' => environment('NOT_DEFINED_VAR'),
                'secret' => environment('OPEN_RUNTIMES_SECRET'),
            ]);
        case 'log':
            $context->log('Debug Log');
            $context->error('Error Log');
            $context->log('A', 42, true);
            $context->log(['object' => true]);
            echo "Native Log\n";
            return $res->text('');
        case 'longLog':
            $context->log(str_repeat('a', 9000));
            return $res->text('');
        case 'structuredLog':
            $context->logger->warn('structured', ['key' => 'value']);
            return $res->text('');
        case 'exception':
            $context->log('before');
            throw new Exception('Custom error message');
        case 'sleep':
            usleep((int) $header('x-ms') * 1000);
            return $res->text('slept');
        case 'concurrentLog':
            $id = $header('x-id');
            for ($round = 0; $round < 3; $round++) {
                $context->log($id);
                echo "native $id\n";
                usleep(20_000);
            }
            return $res->text($id);
        case 'stream':
            return $res->stream(parts(), 201, ['x-streamed' => 'yes']);
        case 'streamLarge':
            return $res->stream(repeated((int) $header('x-size')));
        case 'streamError':
            return $res->stream(failing());
        case 'echoStream':
            return $res->stream($req->bodyStream);
        case 'large':
            return $res->binary(str_repeat('a', (int) $header('x-size')));
        case 'file':
            return $res->text(file_get_contents(__DIR__ . '/data.txt'));
        default:
            return $res->text('Unknown action', 404);
    }
};
