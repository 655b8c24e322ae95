package Treadle::Logs;

# Log lines on the real stdout, and the capture of what user code prints. A process works on one execution at a time.

use strict;
use warnings;
use Fcntl qw(:flock);
use Time::HiRes ();

use constant MOST_CHARACTERS => 8000;
# Longer lines can be cut apart by those of other processes.
use constant ATOMIC_BYTES => 4096;

my ($stdout, $folder, $execution);
my %printed = (info => '', error => '');

sub capture {
    my ($logs) = @_;
    $folder = -d $logs ? $logs : undef;
    open $stdout, '>&', \*STDOUT or die "stdout: $!\n";
    tie *STDOUT, 'Treadle::Logs::Printed', 'info';
    tie *STDERR, 'Treadle::Logs::Printed', 'error';
    $SIG{__WARN__} = sub { printed('error', join '', @_) };
}

sub announce { put("$_[0]\n") }

sub put {
    my ($line) = @_;
    my $lock;
    flock $lock, LOCK_EX if length $line > ATOMIC_BYTES && open $lock, '<', __FILE__;
    my $sent = 0;
    while ($sent < length $line) {
        my $count = syswrite $stdout, $line, length($line) - $sent, $sent;
        # A closed stdout must not end the server.
        return unless defined $count || $!{EINTR};
        $sent += $count // 0;
    }
}

sub begin { ($execution, %printed) = ($_[0], info => '', error => '') }

# What is logged from now on is nobody's. `why`: the last entry.
sub end {
    my ($why) = @_;
    for (qw(info error)) {
        current($_, $printed{$_}) if $printed{$_} ne '';
        $printed{$_} = '';
    }
    current('error', $why) if defined $why;
    undef $execution;
}

sub current { entry($execution, @_) }

sub entry {
    my ($of, $level, $text, $fields) = @_;
    return if $of && !$of->{logging};
    $text //= '';
    utf8::decode($text) unless utf8::is_utf8($text);
    $text = substr($text, 0, MOST_CHARACTERS) . '... Log truncated due to size limit (8000 characters)' if length $text > MOST_CHARACTERS;
    if ($folder && $of && open my $file, '>>:utf8', "$folder/$of->{id}_" . ($level eq 'error' ? 'errors' : 'logs') . '.log') {
        print $file "$text\n";
        return;
    }
    my $id   = $of ? "\"$of->{id}\"" : 'null';
    my $more = $fields && %$fields ? ',"fields":' . Treadle::Context::json()->encode($fields) : '';
    my $line = sprintf '{"id":%s,"level":"%s","text":%s%s,"time":%d}' . "\n", $id, $level, quoted($text), $more, Time::HiRes::time() * 1000;
    utf8::encode($line);
    put($line);
}

sub quoted {
    my ($text) = @_;
    $text =~ s/(["\\])/\\$1/g;
    $text =~ s/([\0-\x1f\x7f])/sprintf '\\u%04x', ord $1/ge;
    return "\"$text\"";
}

sub printed {
    my ($level, $text) = @_;
    $printed{$level} .= $text;
    current($level, $1) while $printed{$level} =~ s/^([^\n]*?)\r?\n//;
}

package Treadle::Logs::Printed;

sub TIEHANDLE { bless { level => $_[1] }, $_[0] }
sub PRINT     { my ($self, @parts) = @_; Treadle::Logs::printed($self->{level}, join($, // '', @parts) . ($\ // '')); 1 }
sub PRINTF    { my ($self, $format, @parts) = @_; Treadle::Logs::printed($self->{level}, sprintf $format, @parts); 1 }
sub WRITE     { my ($self, $text, $length, $from) = @_; Treadle::Logs::printed($self->{level}, substr $text, $from // 0, $length); $length }
sub BINMODE   { 1 }
sub FILENO    { $_[0]{level} eq 'info' ? 1 : 2 }
sub CLOSE     { 1 }
# `open STDOUT, '>&', ...` of user code: is left without effect.
sub OPEN { 1 }

1;
