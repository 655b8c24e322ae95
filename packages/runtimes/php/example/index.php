<?php

// Answers with what it was asked, as JSON.
return function ($context) {
    $context->log("{$context->req->method} {$context->req->path}");
    $name = $context->req->query['name'] ?? 'world';
    return $context->res->json(['message' => "Hello $name", 'language' => 'php']);
};
