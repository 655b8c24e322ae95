<?php

/** The conformance script: does what data.variables.action says (test/conformance/ACTIONS.md). */
function handle(array $data)
{
    switch ($data['variables']['action'] ?? '') {
        case 'change':
            $data['payload'] .= '!';
            $data['meta']['seen'] = true;
            $data['flow']['variables']['count'] = ($data['flow']['variables']['count'] ?? 0) + 1;
            $data['logs'] = ['changed'];
            return $data;
        case 'code':
            $data['response_code'] = 2;
            return $data;
        case 'throw':
            throw new Exception('Script failed');
        case 'log':
            echo "printed\n";
            return $data;
        case 'nothing':
            return;
        default:
            return $data;
    }
}
