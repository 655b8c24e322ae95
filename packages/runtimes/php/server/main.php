<?php
// The runtime server for PHP: one master that holds the connections, and workers that run user code. See ../README.md.

declare(strict_types=1);

namespace Treadle\Server;

foreach (['settings', 'logs', 'connection', 'request', 'response', 'contracts', 'worker', 'master'] as $part) {
    require __DIR__ . "/$part.php";
}

(new Master(Settings::fromEnvironment()))->serve();
