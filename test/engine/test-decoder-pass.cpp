// Sequences as a tree of segments: every sequence comes back whole along its parents, common beginnings are there once.
#include "checks.h"
#include "decoder-pass.h"

using checks::check;

namespace {

gme::decoder_sequence sequence(std::vector<int32_t> ids, int32_t n_opening = 0, int32_t image_begin = 0, int32_t n_image = 0) {
    gme::decoder_sequence made;
    made.ids       = std::move(ids);
    made.n_opening = n_opening;
    made.image     = { image_begin, n_image, 1, n_image };
    return made;
}

// The ids that lie on the way from the root to a sequence's end.
std::vector<int32_t> path_of(const std::vector<gme::decoder_sequence> & sequences, const gme::decoder_pass & pass, size_t i) {
    std::vector<int32_t> ids;
    for (int32_t at = pass.ends[i]; at >= 0; at = pass.segments[static_cast<size_t>(at)].parent) {
        const auto & segment = pass.segments[static_cast<size_t>(at)];
        const auto   from    = sequences[static_cast<size_t>(segment.sequence)].ids.begin() + segment.first;
        ids.insert(ids.begin(), from, from + segment.n);
    }
    return ids;
}

bool comes_back_whole(const std::vector<gme::decoder_sequence> & sequences, const gme::decoder_pass & pass) {
    bool whole = pass.ends.size() == sequences.size();
    for (size_t i = 0; i < sequences.size(); i++) {
        whole = whole && path_of(sequences, pass, i) == sequences[i].ids && pass.segments[static_cast<size_t>(pass.ends[i])].n >= 1;
    }
    for (size_t i = 0; i < pass.segments.size(); i++) {
        const int32_t parent = pass.segments[i].parent;
        whole = whole && parent < static_cast<int32_t>(i);
        whole = whole && pass.segments[i].first == (parent < 0 ? 0 : pass.segments[static_cast<size_t>(parent)].first + pass.segments[static_cast<size_t>(parent)].n);
    }
    return whole;
}

int32_t count_rows(const gme::decoder_pass & pass) {
    int32_t n = 0;
    for (const auto & segment : pass.segments) {
        n += segment.known ? 0 : segment.n;
    }
    return n;
}

}  // namespace

int main() {
    gme::opening_cache none;
    {
        const std::vector<gme::decoder_sequence> sequences = { sequence({ 1, 2, 3, 4, 9 }), sequence({ 1, 2, 3, 5, 9 }), sequence({ 1, 2, 8, 9 }), sequence({ 7, 9 }) };
        const auto pass = gme::plan_decoder_pass(sequences, none);
        check(comes_back_whole(sequences, pass), "common beginnings: every sequence comes back whole");
        check(count_rows(pass) == 2 + 1 + 2 + 2 + 2 + 2, "and what two or more begin with is there once");
        const auto apart = gme::plan_separate_pass(sequences);
        check(comes_back_whole(sequences, apart) && count_rows(apart) == 5 + 5 + 4 + 2, "a separate pass shares nothing");
    }
    {
        const std::vector<gme::decoder_sequence> sequences = { sequence({ 1, 2, 3 }), sequence({ 1, 2, 3 }), sequence({ 1, 2 }), sequence({ 1 }), sequence({ 1, 2, 3, 4 }) };
        check(comes_back_whole(sequences, gme::plan_decoder_pass(sequences, none)), "equal sequences and beginnings of others keep a last token of their own");
    }
    {
        const std::vector<gme::decoder_sequence> sequences = { sequence({ 1, 2, 5, 6, 6, 9 }, 0, 3, 2), sequence({ 1, 2, 5, 6, 6, 9 }, 0, 3, 2), sequence({ 1, 2, 5, 6, 9 }, 0, 3, 1) };
        const auto pass = gme::plan_decoder_pass(sequences, none);
        check(comes_back_whole(sequences, pass) && count_rows(pass) == 3 + 3 + 3 + 2, "pictures are shared up to their first token and no further");
    }
    {
        gme::opening_cache cache;
        const auto opening = gme::plan_opening_pass(sequence({ 1, 2 }));
        check(opening.segments.size() == 1 && opening.segments[0].wanted != nullptr, "an opening runs alone and is wanted");
        cache.keep(opening.segments[0].wanted);
        const std::vector<gme::decoder_sequence> sequences = { sequence({ 1, 2, 3, 9 }, 2), sequence({ 1, 2, 4, 9 }, 2), sequence({ 5, 2, 4, 9 }, 2), sequence({ 1, 2, 4, 9 }) };
        const auto pass = gme::plan_decoder_pass(sequences, cache);
        check(comes_back_whole(sequences, pass) && count_rows(pass) == 2 + 2 + (2 + 2) + 4, "a known opening is not computed again");
        for (int32_t i = 0; i < 8; i++) {
            cache.keep(gme::plan_opening_pass(sequence({ 100, i })).segments[0].wanted);
        }
        const int32_t old[] = { 1, 2 }, young[] = { 100, 7 };
        check(cache.find(old, 2) == nullptr && cache.find(young, 2) != nullptr, "the opening used longest ago goes");
    }
    return checks::result();
}
