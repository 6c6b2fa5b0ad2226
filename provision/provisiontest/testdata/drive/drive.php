<?php
// Drives PHP's curl. See README.md.
while (($line = fgets(STDIN)) !== false) {
    [$op, $cell, $method, $url, $body, $token] = explode(' ', trim($line));
    $bytes = 0;
    $c = curl_init($url);
    curl_setopt_array($c, [
        CURLOPT_CUSTOMREQUEST => $method,
        CURLOPT_TIMEOUT => 60,
        CURLOPT_HTTPHEADER => $token === '-' ? [] : ["Authorization: Bearer $token"],
        CURLOPT_WRITEFUNCTION => function ($c, $text) use (&$bytes, $op) {
            $bytes += strlen($text);
            return $op === 'cancel' ? 0 : strlen($text);
        },
    ]);
    if ($body !== '-') {
        curl_setopt($c, CURLOPT_POSTFIELDS, file_get_contents($body));
    }
    $ok = curl_exec($c);
    $status = curl_getinfo($c, CURLINFO_RESPONSE_CODE);
    if ($op === 'cancel') {
        echo "$cell $status\n";
    } elseif ($ok === false) {
        echo "$cell error " . curl_error($c) . "\n";
    } else {
        echo $op === 'download' ? "$cell $status $bytes\n" : "$cell $status\n";
    }
}
