use strict;
use warnings;
use utf8;

sub main {
    my ($context) = @_;
    my $name = $context->req->query->{name} // 'World';
    $context->log('Greeting', $name);
    return $context->res->json({ language => 'perl', message => "Hello, $name!" });
}

1;
