#!/usr/bin/env perl
# SPDX-License-Identifier: Apache-2.0
#
# hostile.pl HOST:PORT WHAT [ARGUMENT]... — clients that do a node no good. Prints what it saw, one line each; fails where a
# connection did not do what it should.
#
#     crowd N idle|halves|polls|http TOPIC-ID   N connections: greeted; with half a frame; with a long poll; with half an
#                                               HTTP request. Prints "ready N", waits for a line on standard input, prints
#                                               how many still stand.
#     extra N [SECONDS]                         N connections more: how many of them end within so long
#     lies                                      frames whose lengths lie, each on a connection of its own
#     drip frame|http|greeting                  a byte each 20 ms: how long it is listened to, in ms
#     bytes                                     what is on standard input, as it is; prints nothing but "ended MS"
use strict;
use warnings;
use IO::Select;
use IO::Socket::INET;
use Socket qw(IPPROTO_TCP TCP_NODELAY MSG_DONTWAIT);
use Time::HiRes qw(time sleep);

use constant {
        FETCH => 3,
        STATUS => 11,
        PARTITION => 10,
        GREETING => "DRMQ\x01\x01\x00\x00",
        PRELUDE => 32,
        PATIENCE => 20, # seconds: what should come, comes within this
};

my @crc_of;
for my $i (0 .. 255) {
        my $c = $i;
        $c = $c & 1 ? ($c >> 1) ^ 0x82f63b78 : $c >> 1 for 1 .. 8;
        push @crc_of, $c;
}

sub crc32c {
        my $c = 0xffffffff;
        $c = ($c >> 8) ^ $crc_of[($c ^ $_) & 255] for unpack 'C*', shift;
        return $c ^ 0xffffffff;
}

# Lengths may be given as they are not.
sub frame {
        my ($type, $correlation, $header, $table, %lie) = @_;
        my $rest = $header . $table;
        my $p = pack 'VVVvvQ<V', $lie{length} // PRELUDE + length $rest, $lie{header} // length $header,
                $lie{table} // length $table, $type, 0, $correlation, 0;
        return $p . pack('V', crc32c($p . $rest) ^ ($lie{crc} // 0)) . $rest;
}

my $address = shift // die "hostile.pl HOST:PORT WHAT\n";
my $what = shift // die "hostile.pl HOST:PORT WHAT\n";

sub dial {
        my $s = IO::Socket::INET->new(PeerAddr => $address, Proto => 'tcp') or die "Cannot connect: $!\n";
        setsockopt $s, IPPROTO_TCP, TCP_NODELAY, 1;
        return $s;
}

# Exactly so many bytes; fewer at the end.
sub take {
        my ($s, $n) = @_;
        my $bytes = '';
        my $select = IO::Select->new($s);

        while (length $bytes < $n) {
                $select->can_read(PATIENCE) or die "nothing comes\n";
                my $k = sysread $s, $bytes, $n - length $bytes, length $bytes;
                last if !$k;
        }
        return $bytes;
}

sub greet {
        my $s = dial();
        syswrite $s, GREETING;
        take($s, 8) eq GREETING or die "not greeted\n";
        return $s;
}

# The correlation of the next answer; undef: the connection has ended.
sub answer {
        my $s = shift;
        my $prelude = take($s, PRELUDE);
        return undef if length $prelude < PRELUDE;
        my ($n, $correlation) = (unpack('V', $prelude), unpack('Q<', substr $prelude, 16));
        take($s, $n - PRELUDE);
        return $correlation;
}

# Whether it is open, and says nothing.
sub stands {
        my $n = sysread_now(shift);
        return !defined $n;
}

sub sysread_now {
        my $s = shift;
        my $r = recv $s, my $byte, 1, MSG_DONTWAIT;
        return undef if !defined $r && $!{EAGAIN};
        return defined $r ? length $byte : 0;
}

sub has_ended {
        my ($s, $seconds) = @_;
        my $select = IO::Select->new($s);
        my $end = time + $seconds;

        while (time < $end) {
                next if !$select->can_read($end - time);
                my $n = sysread $s, my $bytes, 65536;
                return 1 if !$n;
        }
        return 0;
}

my %verbs = (
        crowd => sub {
                my ($n, $how, $topic) = @_;
                my @crowd;
                my $poll = frame(FETCH, 1, "\x08\xc0\xcf\x24\x18\x80\x80\x04", pack('Q<Q<VV', $topic // 0, 0, 0, 0)) .
                        frame(PARTITION, 2, '', '');

                for (1 .. $n) {
                        if ($how eq 'http') {
                                my $s = dial();
                                syswrite $s, "GET /metrics HTT";
                                push @crowd, $s;
                                next;
                        }
                        my $s = greet();
                        syswrite $s, substr(frame(STATUS, 1, '', ''), 0, 20) if $how eq 'halves';
                        if ($how eq 'polls') {
                                syswrite $s, $poll;
                                answer($s) == 2 or die "The poll does not wait\n"; # so what is behind it has its turn
                        }
                        push @crowd, $s;
                }
                $| = 1;
                print "ready $n\n";
                <STDIN>;
                print 'stood ', scalar(grep { stands($_) } @crowd), "\n";
        },
        extra => sub {
                my ($n, $seconds) = @_;
                my @extra = map { dial() } 1 .. $n;

                print 'refused ', scalar(grep { has_ended($_, $seconds // PATIENCE) } @extra), "\n";
        },
        lies => sub {
                my $witness = greet();
                my ($n_ended, $n_answered) = (0, 0);
                my %max = (length => (16 << 20) + PRELUDE, header => 8 << 20, table => 16 << 20);
                my (@liars, @honest);

                for my $field (qw(length header table)) {
                        for my $value (0, 31, 32, 33, $max{$field}, $max{$field} + 1, 1 << 31, 0xffffffff) {
                                for my $crc (0, 1) {
                                        my $s = greet();
                                        my $f = frame(STATUS, 7, '', '', $field => $value, crc => $crc);
                                        my $is_true = $value == ($field eq 'length' ? PRELUDE : 0);

                                        syswrite $s, $f;
                                        push @{$is_true && !$crc ? \@honest : \@liars}, [$s, "$field=$value crc=$crc"];
                                        syswrite $witness, frame(STATUS, 9, '', '');
                                        answer($witness) == 9 or die "The witness is not answered\n";
                                }
                        }
                }
                for (@honest) {
                        (answer($_->[0]) // 0) == 7 or die "$_->[1]: not answered\n";
                        $n_answered++;
                }
                for (@liars) {
                        has_ended($_->[0], PATIENCE) or die "$_->[1]: still there\n";
                        $n_ended++;
                }
                syswrite $witness, frame(STATUS, 10, '', '');
                answer($witness) == 10 or die "The witness is not answered\n";
                print "ended $n_ended, answered $n_answered\n";
        },
        drip => sub {
                my $how = shift;
                my $s = $how eq 'frame' ? greet() : dial();
                my $begin = time;
                my $bytes =
                        $how eq 'frame' ? frame(STATUS, 1, '', 'x' x 4000)
                        : $how eq 'http' ? "GET /metrics HTTP/1.1\r\n" . "X-Slow: yes\r\n" x 300
                        :                  'DRMQ';

                local $SIG{PIPE} = 'IGNORE';
                for my $byte (split //, $bytes) {
                        last if !stands($s) || !defined syswrite $s, $byte;
                        sleep 0.02;
                }
                has_ended($s, PATIENCE) or die "still there\n";
                printf "ended %d\n", 1000 * (time - $begin);
        },
        bytes => sub {
                my $s = dial();
                my $begin = time;

                local $SIG{PIPE} = 'IGNORE';
                local $/;
                syswrite $s, scalar <STDIN>;
                has_ended($s, PATIENCE) or die "still there\n";
                printf "ended %d\n", 1000 * (time - $begin);
        },
);
($verbs{$what} // die "hostile.pl: what is \"$what\"?\n")->(@ARGV);
