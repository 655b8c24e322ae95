package Treadle::Context;

# What a function is called with: `$context->req`, `->res`, `->log(...)`, `->error(...)`, `->logger`.

use strict;
use warnings;
use constant MOST_BODY => 20 * 1024 * 1024;
use Treadle::Logs;

sub new {
    my ($class, $request) = @_;
    return bless { req => $request, res => bless({}, 'Treadle::Context::Response'), logger => bless({}, 'Treadle::Context::Logger') }, $class;
}

sub req    { $_[0]{req} }
sub res    { $_[0]{res} }
sub logger { $_[0]{logger} }
sub log    { my ($self, @parts) = @_; Treadle::Logs::current('info', join ' ', map { text($_) } @parts) }
sub error  { my ($self, @parts) = @_; Treadle::Logs::current('error', join ' ', map { text($_) } @parts) }

sub json {
    require JSON::PP;
    return JSON::PP->new->allow_nonref->allow_blessed->convert_blessed->canonical;
}

sub text {
    my ($value) = @_;
    return !defined $value ? 'undef' : ref $value ? json()->encode($value) : "$value";
}

package Treadle::Context::Logger;

sub debug { Treadle::Logs::current('debug', @_[1, 2]) }
sub info  { Treadle::Logs::current('info',  @_[1, 2]) }
sub warn  { Treadle::Logs::current('warn',  @_[1, 2]) }
sub error { Treadle::Logs::current('error', @_[1, 2]) }

package Treadle::Context::Request;

sub new {
    my ($class, $method, $target, $headers, $connection) = @_;
    my $scheme    = $headers->{'x-forwarded-proto'} // 'http';
    my $authority = $headers->{host} // 'localhost';
    ($scheme, $authority, $target) = (lc $1, $2, $3) if $target =~ m{^([A-Za-z][A-Za-z0-9+.-]*)://([^/?#]*)(.*)\z};
    $target =~ s/#.*//;
    my ($path, $query) = split /\?/, $target, 2;
    $path = '/' if !defined $path || $path eq '';
    $query //= '';
    my ($host, $port) = $authority =~ /^(.*?)(?::(\d+))?\z/;
    my $usual = $scheme eq 'https' ? 443 : 80;
    $port = ($port || $usual) + 0;
    my $url = "$scheme://$host" . ($port == $usual ? '' : ":$port") . $path . ($query eq '' ? '' : "?$query");
    my %self = (method => $method, headers => $headers, scheme => $scheme, host => $host, port => $port);
    return bless { %self, path => $path, query_string => $query, url => $url, connection => $connection }, $class;
}

sub method       { $_[0]{method} }
sub headers      { $_[0]{headers} }
sub scheme       { $_[0]{scheme} }
sub host         { $_[0]{host} }
sub port         { $_[0]{port} }
sub path         { $_[0]{path} }
sub query_string { $_[0]{query_string} }
sub url          { $_[0]{url} }

# Undecoded.
sub query {
    my ($self) = @_;
    return { map { my ($key, $value) = split /=/, $_, 2; defined $key && $key ne '' ? ($key => $value // '') : () } split /&/, $self->{query_string} };
}

# Bytes.
sub body_binary {
    my ($self) = @_;
    return $self->{body} if defined $self->{body};
    die "The body was asked for as a stream.\n" if $self->{streamed};
    my ($body, $size) = ('', 0);
    while (defined(my $piece = $self->{connection}->read_body)) {
        $size += length $piece;
        $body = $size > Treadle::Context::MOST_BODY ? '' : $body . $piece;
    }
    die "413 The request body is too large.\n" if $size > Treadle::Context::MOST_BODY;
    return $self->{body} = $body;
}

sub body_text {
    my ($self) = @_;
    my $text = $self->body_binary;
    utf8::decode($text);
    return $text;
}

sub body_json {
    my ($self) = @_;
    my $value = eval { [Treadle::Context::json()->utf8->decode($self->body_binary)] };
    die "The request body is not valid JSON: $@" unless $value;
    return $value->[0];
}

sub body {
    my ($self) = @_;
    return $self->body_text unless ($self->{headers}{'content-type'} // '') =~ m{^application/json}i;
    return $self->body_binary eq '' ? {} : $self->body_json;
}

# An iterator: gives the next piece, then undef.
sub body_stream {
    my ($self) = @_;
    die "The body was read already.\n" if defined $self->{body};
    $self->{streamed} = 1;
    return sub { $self->{connection}->read_body };
}

# Reads what user code left, so that it is known whether the body was small enough.
sub settle {
    my ($self) = @_;
    $self->body_binary unless $self->{streamed};
}

package Treadle::Context::Response;

sub binary {
    my ($self, $body, $status, $headers) = @_;
    return output($status, $headers, 'application/octet-stream', body => $body);
}

sub text {
    my ($self, $body, $status, $headers) = @_;
    utf8::encode($body) if utf8::is_utf8($body);
    return output($status, $headers, 'text/plain', body => $body);
}

sub send { goto &text }

sub json {
    my ($self, $value, $status, $headers) = @_;
    return output($status, $headers, 'application/json', body => Treadle::Context::json()->utf8->encode($value));
}

sub redirect {
    my ($self, $url, $status, $headers) = @_;
    return output($status // 301, { %{ $headers // {} }, location => $url }, 'text/plain', body => '');
}

sub empty { return output(204, {}, 'text/plain', body => '') }

# `source`: an iterator, as body_stream gives it.
sub stream {
    my ($self, $source, $status, $headers) = @_;
    return output($status, $headers, 'text/plain', source => $source);
}

sub output {
    my ($status, $headers, $type, @rest) = @_;
    my %lower = map { (lc $_ => $headers->{$_}) } keys %{ $headers // {} };
    return bless { status => $status // 200, headers => { 'content-type' => $type, %lower }, @rest }, 'Treadle::Context::Output';
}

1;
