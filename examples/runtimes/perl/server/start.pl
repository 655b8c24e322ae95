# Starts the server on what the environment says (HTTP.md).
use strict;
use warnings;
use Treadle::Logs;
use Treadle::Server;

my %settings = (
    socket     => $ENV{TREADLE_SOCKET} // '',
    port       => $ENV{PORT} || 3000,
    code       => $ENV{TREADLE_CODE} || '/usr/local/server/src/function',
    entrypoint => $ENV{OPEN_RUNTIMES_ENTRYPOINT} || 'main.pl',
    secret     => delete $ENV{OPEN_RUNTIMES_SECRET} // '',
    headers    => {},
    development => ($ENV{OPEN_RUNTIMES_ENV} // '') eq 'development',
);
if ($ENV{OPEN_RUNTIMES_HEADERS}) {
    require JSON::PP;
    my $enforced = JSON::PP->new->decode($ENV{OPEN_RUNTIMES_HEADERS});
    $settings{headers}{ lc $_ } = "$enforced->{$_}" for keys %$enforced;
}
push @INC, grep { defined } $settings{code}, "$settings{code}/lib", $ENV{TREADLE_DEPENDENCIES};
Treadle::Logs::capture($ENV{TREADLE_LOGS} || '/mnt/logs');
Treadle::Server::run(\%settings);
