package Treadle::Server;

# Listens, and gives each connection a process of its own: one that blocks holds nobody up, and one that must end is ended.

use strict;
use warnings;
use IO::Socket::INET;
use IO::Socket::UNIX;
use POSIX ();
use Socket qw(SOMAXCONN IPPROTO_TCP TCP_NODELAY);
use Treadle::Connection;
use Treadle::Exchange;
use Treadle::Logs;

# Below the processes that a sandbox may have (128).
my $most_children = 100;
my %children;

# Why user code could not be loaded; undef: it was.
my $failure = 'not loaded yet';

sub load {
    my ($settings) = @_;
    my $file = "$settings->{code}/$settings->{entrypoint}";
    return $failure = "The entry file $settings->{entrypoint} does not exist." unless -f $file;
    local $@;
    {
        # It is compiled in the package it is done from.
        package main;
        do $file;
    }
    $failure = $@ ne '' ? "$@" : defined &main::main ? undef : "$settings->{entrypoint} has no sub main.";
    return $failure;
}

sub listener {
    my ($settings) = @_;
    if ($settings->{socket} eq '') {
        return IO::Socket::INET->new(LocalAddr => '0.0.0.0', LocalPort => $settings->{port}, Listen => SOMAXCONN, ReuseAddr => 1);
    }
    unlink $settings->{socket};
    return IO::Socket::UNIX->new(Local => $settings->{socket}, Listen => SOMAXCONN);
}

sub end_all {
    kill 'KILL', keys %children;
    POSIX::_exit(0);
}

# Takes away processes that have ended; waits for one while there are as many as may be.
sub reap {
    while (%children) {
        my $child = waitpid(-1, keys %children < $most_children ? POSIX::WNOHANG() : 0);
        return if $child <= 0;
        delete $children{$child};
    }
}

sub run {
    my ($settings) = @_;
    my $listener = listener($settings) or die "The server could not start: $@$!\n";
    $SIG{PIPE} = 'IGNORE';
    $SIG{TERM} = $SIG{INT} = \&end_all;
    # Ends the wait for a connection, so that no ended process is left lying.
    $SIG{CHLD} = sub { };
    Treadle::Logs::announce('HTTP server successfully started!');
    load($settings);
    while (1) {
        reap();
        my $socket = $listener->accept or next;
        my $child = fork;
        if (!defined $child) {
            Treadle::Logs::entry(undef, 'error', "No process for a connection: $!");
        } elsif ($child == 0) {
            $SIG{$_} = 'DEFAULT' for qw(TERM INT CHLD);
            close $listener;
            setsockopt $socket, IPPROTO_TCP, TCP_NODELAY, 1 if $settings->{socket} eq '';
            srand;
            serve($settings, Treadle::Connection->new($socket));
            POSIX::_exit(0);
        } else {
            $children{$child} = 1;
        }
        close $socket;
    }
}

sub serve {
    my ($settings, $connection) = @_;
    eval {
        while (my $head = $connection->read_head) {
            my $exchange = Treadle::Exchange->new($settings, $connection, $head);
            last unless $exchange->run(sub { defined $failure ? load($settings) : undef }, $failure);
        }
        1;
    } or $connection->refuse($@);
}

1;
