package Treadle::Exchange;

# A request and its answer.

use strict;
use warnings;
use Fcntl qw(F_GETFL F_SETFL F_SETOWN FASYNC);
use POSIX ();
use Treadle::Context;
use Treadle::Logs;

my $most_timeout = 2_147_483;

sub new {
    my ($class, $settings, $connection, $head) = @_;
    return bless { settings => $settings, connection => $connection, head => $head }, $class;
}

# Answers. False: the connection cannot be used again. `load` tries again and gives why user code cannot be run, or undef; `failure`: the same
# of the last attempt.
sub run {
    my ($self, $load, $failure) = @_;
    my $head = $self->{head};
    if ($head->{target} eq '/__opr/health') { $self->plain(200, 'OK') }
    elsif ($head->{target} eq '/__opr/timings') { $self->plain(200, "load=0\n") }
    elsif (defined(my $refusal = $self->control)) { $self->plain(500, $refusal) }
    elsif ($head->{target} eq '/__opr/load') { $self->tell_load($failure) }
    else { $self->work($load) }
    return 0 unless $head->{keeps};
    1 while defined $self->{connection}->read_body;
    return 1;
}

# Reads the runtime's own headers: what is wrong with them, or undef.
sub control {
    my ($self) = @_;
    my $headers = $self->{head}{headers};
    my $secret  = $self->{settings}{secret};
    my $given   = $headers->{'x-open-runtimes-secret'} // '';
    # Looks at all bytes, whatever they are.
    my $same = length $given == length $secret && !(($given ^ $secret) =~ tr/\0//c);
    return 'Unauthorized. Provide correct "x-open-runtimes-secret" header.' if $secret ne '' && !$same;
    my $timeout = $headers->{'x-open-runtimes-timeout'} // '';
    my $is_good = $timeout eq '' || ($timeout =~ /^\d{1,10}\z/ && $timeout > 0 && $timeout <= $most_timeout);
    return 'Header "x-open-runtimes-timeout" must be an integer greater than 0.' unless $is_good;
    my $logging = $headers->{'x-open-runtimes-logging'} || 'enabled';
    return 'Header "x-open-runtimes-logging" must be either "enabled" or "disabled".' unless $logging =~ /^(?:en|dis)abled\z/;
    my $id = $headers->{'x-open-runtimes-log-id'} // '';
    $id = $self->{settings}{development} ? 'dev' : join '', map { (0 .. 9, 'a' .. 'z')[ rand 36 ] } 1 .. 20
        unless $id =~ /^[A-Za-z0-9_-]{1,64}\z/;
    $self->{execution} = { id => $id, logging => $logging eq 'enabled' };
    $self->{timeout} = $timeout;
    return undef;
}

sub work {
    my ($self, $load) = @_;
    my ($connection, $head) = @$self{qw(connection head)};
    if ($head->{length} > Treadle::Context::MOST_BODY) {
        1 while defined $connection->read_body;
        return $self->plain(413, 'The request body is larger than 20 MiB.');
    }
    Treadle::Logs::begin($self->{execution});
    # Both end this process whatever its code is at: nothing else is in it.
    local $SIG{ALRM} = sub {
        $head->{keeps} = 0;
        $self->{streaming} ? Treadle::Logs::end('Execution timed out.') : $self->fail(500, 'Execution timed out.');
        POSIX::_exit(0);
    };
    local $SIG{IO} = sub {
        return unless $connection->is_gone;
        Treadle::Logs::end();
        POSIX::_exit(0);
    };
    alarm $self->{timeout} if $self->{timeout};
    $self->watch(1);
    my $answer = eval { $self->answer($load) };
    my $problem = $@;
    $self->watch(0);
    alarm 0;
    return if $answer;
    $problem = "$problem";
    return $self->plain(413, 'The request body is larger than 20 MiB.') if $problem =~ /^413 /;
    if ($self->{streaming}) {
        Treadle::Logs::end($problem);
        $head->{keeps} = 0;
    } else {
        $self->fail(500, $problem);
    }
}

# A signal for whatever the caller does meanwhile.
sub watch {
    my ($self, $on) = @_;
    my $socket = $self->{connection}{socket};
    fcntl $socket, F_SETOWN, $$ if $on;
    my $flags = fcntl $socket, F_GETFL, 0;
    fcntl $socket, F_SETFL, $on ? $flags | FASYNC : $flags & ~FASYNC;
}

# Runs user code and sends what it returned. True: an answer was given.
sub answer {
    my ($self, $load) = @_;
    my $failure = $load->();
    return $self->fail(503, $failure) if defined $failure;
    my %headers = map { /^x-open-runtimes-/ ? () : ($_ => $self->{head}{headers}{$_}) } keys %{ $self->{head}{headers} };
    my $request = Treadle::Context::Request->new(@{ $self->{head} }{qw(method target)}, { %headers, %{ $self->{settings}{headers} } }, $self->{connection});
    my $context = Treadle::Context->new($request);
    my $output  = main::main($context);
    $request->settle;
    return $self->fail(500, 'Return statement missing. return context.res.empty() if no response is expected.')
        unless ref $output eq 'Treadle::Context::Output';
    my $head = $self->user_head($output->{status}, $output->{headers});
    return $self->stream($head, $output) if $output->{source};
    Treadle::Logs::end();
    return $self->send($head, $output->{body}, $output->{status});
}

sub stream {
    my ($self, $top, $output) = @_;
    my ($connection, $head) = @$self{qw(connection head)};
    my $silent = $head->{method} eq 'HEAD' || $output->{status} =~ /^(?:1..|204|304)\z/;
    $head->{keeps} = 0 unless $head->{is_11};
    $self->{streaming} = 1;
    my $chunked = $head->{is_11} && !$silent;
    $connection->write($top . ($chunked ? "transfer-encoding: chunked\r\n" : '') . ($head->{keeps} ? '' : "connection: close\r\n") . "\r\n");
    while (defined(my $piece = $output->{source}->())) {
        next if $silent || $piece eq '';
        utf8::encode($piece) if utf8::is_utf8($piece);
        $connection->write($chunked ? sprintf("%x\r\n%s\r\n", length $piece, $piece) : $piece);
    }
    $connection->write("0\r\n\r\n") if $chunked;
    Treadle::Logs::end();
    return 1;
}

# Head of an answer of user code, without what frames the body.
sub user_head {
    my ($self, $status, $headers) = @_;
    die "Impossible status code $status.\n" unless $status =~ /^[1-5]\d\d\z/;
    my $id  = $self->{execution}{logging} ? $self->{execution}{id} : '';
    my $top = "HTTP/1.1 $status @{[ $status == 200 ? 'OK' : '' ]}\r\nx-open-runtimes-log-id: $id\r\n";
    for my $given (sort keys %$headers) {
        my $name = lc $given;
        die "Impossible header name.\n" unless $name =~ /^[a-z0-9!#\$%&'*+\-.^_`|~]+\z/;
        next if $name =~ /^(?:content-length|transfer-encoding|connection|keep-alive|x-open-runtimes-.*)\z/;
        for (ref $headers->{$given} eq 'ARRAY' ? @{ $headers->{$given} } : $headers->{$given}) {
            my $value = "$_";
            die "Impossible value of the header $name.\n" if $value =~ /[\0-\x08\x0a-\x1f\x7f]/;
            utf8::encode($value) if utf8::is_utf8($value);
            if ($name eq 'content-type') {
                $value = lc $value;
                $value .= '; charset=utf-8' unless $value =~ m{^multipart/|charset=};
            }
            $top .= "$name: $value\r\n";
        }
    }
    return $top;
}

# Writes why to the error log, and an answer without a body.
sub fail {
    my ($self, $status, $why) = @_;
    chomp $why;
    Treadle::Logs::end($why);
    return $self->send($self->user_head($status, {}), '', $status);
}

sub plain {
    my ($self, $status, $text, $more) = @_;
    my $top = "HTTP/1.1 $status \r\ncontent-type: text/plain; charset=utf-8\r\n";
    return $self->send($top . ($more // ''), $text, $status);
}

sub tell_load {
    my ($self, $failure) = @_;
    return $self->plain(200, 'OK') unless defined $failure;
    chomp $failure;
    utf8::encode($failure) if utf8::is_utf8($failure);
    return $self->plain(503, $failure, "x-open-runtimes-load: failed\r\n");
}

sub send {
    my ($self, $top, $body, $status) = @_;
    my $head = $self->{head};
    my $bodiless = $status < 200 || $status == 204 || $status == 304;
    $head->{keeps} = 0 if $status < 200;
    $top .= 'content-length: ' . length($body) . "\r\n" unless $bodiless;
    $top .= "connection: close\r\n" unless $head->{keeps};
    $self->{connection}->write("$top\r\n" . ($bodiless || $head->{method} eq 'HEAD' ? '' : $body));
    return 1;
}

1;
