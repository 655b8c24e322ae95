package Treadle::Connection;

# HTTP/1.1 on one connection. Strict: what two readers could take for two things is refused.

use strict;
use warnings;
use Socket qw(MSG_PEEK MSG_DONTWAIT);

use constant MOST_HEAD => 64 * 1024;
my $token = qr/[A-Za-z0-9!#\$%&'*+\-.^_`|~]+/;

sub new {
    my ($class, $socket) = @_;
    return bless { socket => $socket, in => '' }, $class;
}

sub fill {
    my ($self) = @_;
    while (1) {
        my $count = sysread $self->{socket}, $self->{in}, 65536, length $self->{in};
        return $count if defined $count;
        return 0 unless $!{EINTR};
    }
}

# The next request; undef: the caller has closed.
sub read_head {
    my ($self) = @_;
    my $end;
    while (($end = index $self->{in}, "\r\n\r\n") < 0) {
        die "431 The request's headers are too large.\n" if length $self->{in} > MOST_HEAD;
        return undef unless $self->fill;
    }
    my ($first, @lines) = split /\r\n/, substr($self->{in}, 0, $end), -1;
    substr $self->{in}, 0, $end + 4, '';
    my ($method, $target, $version) = $first =~ m{^($token) (\S+) HTTP/1\.([01])\z} or die "400 Malformed request line.\n";
    my %headers;
    for (@lines) {
        my ($name, $value) = /^($token):[ \t]*([^\r\n\0]*?)[ \t]*\z/ or die "400 Malformed header.\n";
        $name = lc $name;
        $headers{$name} = exists $headers{$name} ? "$headers{$name}, $value" : $value;
    }
    my $length = $headers{'content-length'};
    my $coding = $headers{'transfer-encoding'};
    die "400 Two lengths of one body.\n" if defined $coding && (defined $length || !$version);
    die "501 Only the transfer encoding chunked is known.\n" if defined $coding && lc $coding ne 'chunked';
    die "400 Malformed content-length.\n" if defined $length && $length !~ /^\d{1,15}\z/;
    @$self{qw(chunked left complete)} = (defined $coding, $length // 0, !defined $coding && !$length);
    $self->{continue} = lc($headers{expect} // '') eq '100-continue';
    my $keeps = $version && lc($headers{connection} // '') !~ /close/;
    return { method => $method, target => $target, is_11 => $version, headers => \%headers, keeps => $keeps, length => $length // 0 };
}

sub read_line {
    my ($self) = @_;
    my $end;
    while (($end = index $self->{in}, "\r\n") < 0) {
        die "400 Malformed chunk.\n" if length $self->{in} > 1024;
        $self->fill or die "400 The request body ended early.\n";
    }
    return substr substr($self->{in}, 0, $end + 2, ''), 0, $end;
}

# The next piece of the body; undef: it is over.
sub read_body {
    my ($self) = @_;
    return undef if $self->{complete};
    $self->write("HTTP/1.1 100 Continue\r\n\r\n") if delete $self->{continue};
    if ($self->{chunked} && !$self->{left}) {
        my ($size) = $self->read_line =~ /^([0-9a-fA-F]{1,12})[ \t]*(?:;|\z)/ or die "400 Malformed chunk.\n";
        $self->{left} = hex $size;
        if (!$self->{left}) {
            1 while $self->read_line ne '';
            $self->{complete} = 1;
            return undef;
        }
    }
    $self->fill || die "400 The request body ended early.\n" if $self->{in} eq '';
    my $piece = substr $self->{in}, 0, $self->{left}, '';
    $self->{left} -= length $piece;
    if (!$self->{left}) {
        if (!$self->{chunked}) { $self->{complete} = 1 }
        elsif ($self->read_line ne '') { die "400 Malformed chunk.\n" }
    }
    return $piece;
}

sub write {
    my ($self, $bytes) = @_;
    my $sent = 0;
    while ($sent < length $bytes) {
        my $count = syswrite $self->{socket}, $bytes, 65536, $sent;
        if (defined $count) { $sent += $count }
        elsif (!$!{EINTR}) { die "The caller has gone.\n" }
    }
}

# Whether the caller has hung up; takes nothing of what it has sent.
sub is_gone {
    my ($self) = @_;
    my $byte = '';
    my $seen = recv $self->{socket}, $byte, 1, MSG_PEEK | MSG_DONTWAIT;
    return defined $seen && $byte eq '';
}

# Answers a request that is none.
sub refuse {
    my ($self, $problem) = @_;
    my ($status, $text) = $problem =~ /^(\d{3}) (.*)/ or return;
    my $length = length $text;
    eval { $self->write("HTTP/1.1 $status \r\ncontent-type: text/plain\r\nconnection: close\r\ncontent-length: $length\r\n\r\n$text") };
}

1;
