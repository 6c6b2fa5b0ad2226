# Drives LWP::UserAgent, or HTTP::Tiny. LWP takes the proxy from the environment
# only when it is told to. See README.md.
use strict;
use warnings;

my ($name) = @ARGV;
my $tiny = $name eq 'tiny';
my $client;
if ($tiny) {
    require HTTP::Tiny;
    $client = HTTP::Tiny->new(verify_SSL => 1, timeout => 60);
} else {
    require LWP::UserAgent;
    $client = LWP::UserAgent->new(env_proxy => 1, timeout => 60);
}
$| = 1;
while (my $line = <STDIN>) {
    my ($op, $cell, $method, $url, $body, $token) = split ' ', $line;
    my %headers = $token eq '-' ? () : (Authorization => "Bearer $token");
    my $content;
    if ($body ne '-') {
        open my $f, '<:raw', $body or die "$body: $!";
        local $/;
        $content = <$f>;
    }
    my ($status, $reason, $bytes, $own);
    if ($tiny) {
        my $res = $client->request($method, $url, {headers => \%headers, defined $content ? (content => $content) : ()});
        ($status, $reason, $bytes) = ($res->{status}, $res->{content}, length $res->{content});
        $own = $status == 599;
    } else {
        my $res = $client->request(HTTP::Request->new($method, $url, [%headers], $content));
        ($status, $reason, $bytes) = ($res->code, $res->status_line, length $res->content);
        $own = ($res->header('Client-Warning') // '') eq 'Internal response';
    }
    $reason =~ tr/\n/ /;
    print "$cell ", $own ? "error $reason" : $op eq 'download' ? "$status $bytes" : $status, "\n";
}
