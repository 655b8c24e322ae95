<?php

// The older form: what is sent is the response.
return function ($req, $res) {
    if ($req->payload === 'text') {
        $res->send('text', 202);
    } else {
        $res->json(['payload' => $req->payload, 'header' => $req->headers['x-test'] ?? null, 'env' => $req->env['CUSTOM_ENV_VAR'] ?? null], 201);
    }
};
