// What an error shows of text that came from outside.
#include "checks.h"

using checks::check;

int main() {
    check(gme::printable("plain \u00E9 \u5B57") == "plain \u00E9 \u5B57", "ordinary text stays as it is");
    check(gme::printable("a\nb\tc\x1B[0m\x7F") == "a\\nb\\tc\\u{001B}[0m\\u{007F}", "T05 control characters are escaped");
    check(gme::printable("\u202Eabc\u2066\u200F\u2028\u0085\uFEFF") == "\\u{202E}abc\\u{2066}\\u{200F}\\u{2028}\\u{0085}\\u{FEFF}",
          "T09 bidirectional controls and separators are escaped");
    check(gme::printable("a\xFF\xE2\x82z") == "a\\xFF\\xE2\\x82z", "malformed UTF-8 is escaped byte by byte");
    check(gme::printable(std::string("a\0b", 3)) == "a\\u{0000}b", "NUL is escaped");
    check(gme::printable(std::string(120, 'x')) == std::string(120, 'x'), "120 characters stay whole");
    check(gme::printable(std::string(121, 'x')) == std::string(119, 'x') + "\u2026", "longer text is cut at 120 characters");
    check(gme::printable(std::string(119, 'x') + "\n") == std::string(119, 'x') + "\u2026", "an escape is never cut in two");
    check(gme::printable("").empty(), "no text is no text");
    return checks::result();
}
