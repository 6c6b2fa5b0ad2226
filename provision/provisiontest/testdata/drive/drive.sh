#!/bin/sh
# Drives the program named: curl, wget or openssl. See README.md.
program=$1
log=$(mktemp)

curl_do() {
	set -- -sS --max-time 60 -o /dev/null
	[ "$method" = - ] || set -- "$@" -X "$method"
	[ "$body" = - ] || set -- "$@" -H 'Content-Type: text/plain' --data-binary "@$body"
	[ "$token" = - ] || set -- "$@" -H "Authorization: Bearer $token"
	case $op in
	request) curl "$@" -w '%{http_code}' "$url" 2>"$log" ;;
	download) curl "$@" -w '%{http_code} %{size_download}' "$url" 2>"$log" ;;
	# curl ends when nobody reads any more.
	cancel) [ "$(curl -sSN --max-time 60 "$url" 2>"$log" | head -c 1000 | wc -c)" -eq 1000 ] && echo 200 ;;
	sse) curl -sSN --max-time 60 "$url" 2>"$log" | while read -r name event; do
		if [ "$name" = data: ]; then
			printf '%s%s' "$sep" "$event"
			[ -n "$sep" ] || curl -sS --max-time 60 -o /dev/null "$url-ack" 2>>"$log"
			sep=,
		fi
	done ;;
	trailers) curl "$@" -D "$log" -w '%{http_code}' "$url" && sed -n 's/^[Gg]rpc-[Ss]tatus: *\([0-9]*\).*/ \1/p' "$log" ;;
	*) return 1 ;;
	esac
}

wget_do() {
	[ "$op" = request ] || return 1
	set -- -S -q -O /dev/null --tries=1 --timeout=60 "--method=$method"
	[ "$body" = - ] || set -- "$@" "--body-file=$body"
	[ "$token" = - ] || set -- "$@" "--header=Authorization: Bearer $token"
	wget "$@" "$url" 2>"$log"
	# Its own request's answer is the last one; a refused CONNECT has none.
	sed -n 's|^ *HTTP/1\.1 \([0-9]*\).*|\1|p' "$log" | tail -n 1 | grep .
}

openssl_do() {
	[ "$op" = request ] || return 1
	rest=${url#https://}
	at=${rest%%/*}
	case $at in *:*) ;; *) at=$at:443 ;; esac
	{
		printf '%s /%s HTTP/1.1\r\nHost: %s\r\nConnection: close\r\n' "$method" "${rest#*/}" "$at"
		[ "$token" = - ] || printf 'Authorization: Bearer %s\r\n' "$token"
		[ "$body" = - ] || printf 'Content-Length: %s\r\n' "$(wc -c <"$body")"
		printf '\r\n'
		[ "$body" = - ] || cat "$body"
	} | timeout 60 openssl s_client -quiet -verify_return_error -verify_hostname "${at%:*}" -proxy "${HTTPS_PROXY#http://}" -connect "$at" -servername "${at%:*}" 2>"$log" |
		sed -n '1s|^HTTP/1\.1 \([0-9]*\).*|\1|p' | grep .
}

while read -r op cell method url body token; do
	sep=
	if answer=$("${program}_do" </dev/null) && [ -n "$answer" ]; then
		echo "$cell" $answer
	else
		echo "$cell error $(tr '\n' ' ' <"$log" | cut -c -300)"
	fi
done
