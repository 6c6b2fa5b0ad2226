# Drives Net::HTTP. See README.md.
require 'net/http'

$stdout.sync = true
$stdin.each_line do |line|
  op, cell, method, url, body, token = line.split
  begin
    uri = URI(url)
    # No body is expected of DELETE's answer; one that comes is read.
    req = Net::HTTPGenericRequest.new(method, body != '-', true, uri.request_uri)
    req['Authorization'] = "Bearer #{token}" if token != '-'
    req.body = File.binread(body) if body != '-'
    size = 0
    status = Net::HTTP.start(uri.host, uri.port, use_ssl: true, open_timeout: 60, read_timeout: 60) do |http|
      http.max_retries = 0
      http.request(req) { |res| res.read_body { |part| size += part.bytesize } }.code
    end
    puts op == 'download' ? "#{cell} #{status} #{size}" : "#{cell} #{status}"
  rescue StandardError => e
    puts "#{cell} error #{e.class} #{e.message.tr("\n", ' ')}"
  end
end
