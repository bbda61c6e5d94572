#!/usr/bin/env perl
# SPDX-License-Identifier: Apache-2.0
#
# check-metrics.pl <TEXT — holds a text to Prometheus' format 0.0.4 and to the rules for our metrics, more strictly than
# a reader has to. What is wrong is printed with its line; status 1.
use strict;
use warnings;

my ($family, $type, %types, %helps, %series, %histograms);
my $n_bad = 0;

sub bad {
        print "line $.: @_\n";
        $n_bad++;
}

# Labels as a hash; undef where they are not of the form.
sub labels_of {
        my ($text) = @_;
        my %labels;

        while ($text =~ s/^([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\\n]|\\["\\n])*)"(,(?=.)|$)//) {
                return undef if exists $labels{$1};
                $labels{$1} = $2;
        }
        return $text eq '' ? \%labels : undef;
}

sub check_bucket {
        my ($labels, $value) = @_;
        my $le = delete $labels->{le};
        my $key = join ',', map { "$_=$labels->{$_}" } sort keys %$labels;
        my $h = $histograms{$family}{$key} //= { le => -1, n => 0 };

        return bad("bucket without le") unless defined $le;
        return bad("bucket behind +Inf") if $h->{le} eq '+Inf';
        bad("le $le does not ascend") if $le ne '+Inf' && $le <= $h->{le};
        bad("bucket $le is not cumulative") if $value < $h->{n};
        @$h{'le', 'n'} = ($le, $value);
}

sub check_sample {
        my ($name, $label_text, $value) = @_;
        my $labels = labels_of($label_text);
        my $of_histogram = defined $type && $type eq 'histogram' && $name =~ /^\Q$family\E_(bucket|sum|count)$/ ? $1 : '';
        my $series;

        return bad("labels {$label_text}") unless $labels;
        return bad("$name is not of the family above it") unless defined $family && ($name eq $family || $of_histogram);
        return bad("$name of a histogram has no such suffix") if $type eq 'histogram' && !$of_histogram;
        return bad("value $value") unless $value =~ /^-?[0-9]+(\.[0-9]+)?$/;
        bad("counter below 0") if $type ne 'gauge' && $value < 0;

        $series = join ',', $name, map { "$_=$labels->{$_}" } sort keys %$labels;
        bad("$series is there twice") if $series{$series}++;
        if ($of_histogram eq 'bucket') {
                check_bucket($labels, $value);
        } elsif ($of_histogram) {
                my $key = join ',', map { "$_=$labels->{$_}" } sort keys %$labels;
                my $h = $histograms{$family}{$key};

                return bad("$name without buckets") unless $h && $h->{le} eq '+Inf';
                bad("$name is not what +Inf has") if $of_histogram eq 'count' && $value != $h->{n};
                $h->{$of_histogram}++;
        }
}

while (<STDIN>) {
        bad("no line feed at its end") unless s/\n$//;
        if (/^# HELP (\S+) (\S.*)$/) {
                my ($name, $help) = ($1, $2);

                bad("$name has two HELP lines") if $helps{$name}++;
                bad("$name is not a name of ours") unless $name =~ /^drmq_[a-z0-9_]+$/;
                bad("a backslash in HELP that escapes nothing") if $help =~ s/\\[\\n]//gr =~ /\\/;
                ($family, $type) = ($name, undef);
        } elsif (/^# TYPE (\S+) (counter|gauge|histogram)$/) {
                my $name = $1;

                bad("TYPE $name without its HELP above") unless defined $family && $family eq $name && !defined $type;
                bad("$name has two TYPE lines") if $types{$name};
                $type = $types{$name} = $2;
                bad("$name: a counter ends with _total, nothing else does") if ($type eq 'counter') != ($name =~ /_total$/);
                bad("$name: its unit is not a base unit") if $name =~ /_(ms|usec|us|milliseconds|microseconds|kb|mb|kilobytes|megabytes|percent)(_|$)/;
        } elsif (/^([a-zA-Z_:][a-zA-Z0-9_:]*)(?:\{(.+)\})? (\S+)$/) {
                if (defined $type) { check_sample($1, $2 // '', $3) } else { bad("sample before TYPE") }
        } else {
                bad("neither HELP nor TYPE nor a sample: $_");
        }
}

$n_bad++, print "there is nothing\n" unless %types;
for my $name (grep { $types{$_} eq 'histogram' } sort keys %types) {
        for my $h (values %{$histograms{$name} // {}}) {
                $n_bad++, print "$name: a histogram needs one _sum and one _count\n" unless ($h->{sum} // 0) == 1 && ($h->{count} // 0) == 1;
        }
}
exit($n_bad > 0);
