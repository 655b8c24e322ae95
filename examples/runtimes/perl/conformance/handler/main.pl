use strict;
use warnings;
use utf8;

sub main {
    my ($context) = @_;
    my ($req, $res) = ($context->req, $context->res);
    my $headers = $req->headers;
    my $action = $headers->{'x-action'} // '';
    my %actions = (
        plainText => sub { $res->text('Hello World 👋') },
        json => sub { require JSON::PP; $res->json({ json => JSON::PP::true(), message => 'Developers are awesome.' }) },
        charset => sub { $res->text('ok', 200, { 'content-type' => 'text/plain; charset=iso-8859-1' }) },
        upperCaseType => sub { $res->text('ok', 200, { 'content-type' => 'TEXT/HTML' }) },
        multipart => sub { $res->text('--x--', 200, { 'content-type' => 'multipart/form-data; boundary=12345' }) },
        redirect => sub { $res->redirect('https://example.com/there') },
        empty => sub { $res->empty },
        binary => sub { $res->binary(pack 'C*', 0, 10, 255) },
        noResponse => sub { return },
        double => sub { $res->text('This should be ignored.'); $res->text('This should be returned.') },
        headers => sub {
            $res->text('OK', 200, {
                'first-header' => 'first-value',
                'second-header' => $headers->{'x-open-runtimes-custom-in-header'} // 'missing',
                'third-header' => $headers->{cookie} // 'missing',
                'x-open-runtimes-custom-out-header' => 'third-value',
            });
        },
        setCookie => sub { $res->text('OK', 200, { 'set-cookie' => ['a=1; Path=/', 'b=2; HttpOnly'] }) },
        status => sub { $res->text('status', $headers->{'x-status'}) },
        method => sub { $res->text($req->method) },
        url => sub {
            my %parts = map { ($_ => $req->$_) } qw(url port path query scheme host);
            $res->json({ %parts, queryString => $req->query_string });
        },
        requestHeaders => sub { $res->json($headers) },
        bodyText => sub { $res->text($req->body_text) },
        bodyJson => sub { $res->json($req->body_json) },
        body => sub { my $body = $req->body; $res->json({ kind => ref $body ? 'object' : 'text', body => $body }) },
        bodyBinary => sub { $res->binary($req->body_binary) },
        environment => sub {
            $res->json({ given => $ENV{CUSTOM_ENV_VAR}, missing => $ENV{NOT_DEFINED_VAR}, secret => $ENV{OPEN_RUNTIMES_SECRET} });
        },
        log => sub {
            require JSON::PP;
            $context->log('Debug Log');
            $context->error('Error Log');
            # Perl has no truth values of its own.
            $context->log('A', 42, 'true');
            $context->log({ object => JSON::PP::true() });
            print "Native Log\n";
            $res->text('');
        },
        longLog => sub { $context->log('a' x 9000); $res->text('') },
        structuredLog => sub { $context->logger->warn('structured', { key => 'value' }); $res->text('') },
        exception => sub { $context->log('before'); die "Custom error message\n" },
        sleep => sub { pause($headers->{'x-ms'}); $res->text('slept') },
        concurrentLog => sub {
            my $id = $headers->{'x-id'};
            for (1 .. 3) {
                $context->log($id);
                pause(10);
                print "native $id\n";
                pause(10);
            }
            $res->text($id);
        },
        stream => sub {
            my @pieces = ("one\n", "two\n", "three\n");
            my $first = 1;
            $res->stream(sub { pause(200) unless $first; $first = 0; shift @pieces }, 201, { 'x-streamed' => 'yes' });
        },
        streamLarge => sub {
            my ($left, $piece) = ($headers->{'x-size'}, 'a' x 65536);
            $res->stream(sub {
                return undef unless $left > 0;
                my $size = $left < 65536 ? $left : 65536;
                $left -= $size;
                return substr $piece, 0, $size;
            });
        },
        streamError => sub {
            my @pieces = ("one\n");
            $res->stream(sub { shift @pieces // die "The source failed.\n" });
        },
        echoStream => sub { $res->stream($req->body_stream) },
        large => sub { $res->binary('a' x $headers->{'x-size'}) },
        file => sub {
            open my $file, '<', "$ENV{TREADLE_CODE}/data.txt" or die "data.txt: $!\n";
            $res->text(join '', <$file>);
        },
    );
    return ($actions{$action} // sub { $res->text('Unknown action', 404) })->();
}

sub pause {
    my ($milliseconds) = @_;
    select undef, undef, undef, $milliseconds / 1000;
}

1;
