// Placeholder until race detection is merged.
#include "tools/ptx-emulator/Races.h"
using namespace nestc::ptx;
Races::Races(bool keepTags) : keepTags(keepTags) {}
void Races::reset(uint32_t, unsigned, unsigned) {}
bool Races::read(unsigned, uint32_t, const uint32_t *, unsigned, Race &) {
  return false;
}
bool Races::write(unsigned, uint32_t, const uint32_t *, unsigned,
                  const StoredValues &, const uint8_t *, Race &) {
  return false;
}
bool Races::readAll(unsigned, uint32_t, const uint32_t *, unsigned, Race &) {
  return false;
}
bool Races::atomic(unsigned, uint32_t, const uint32_t *, unsigned, Race &) {
  return false;
}
bool Races::atomicRead(unsigned, uint32_t, const uint32_t *, unsigned, Race &) {
  return false;
}
bool Races::writeAsync(unsigned, uint32_t, const uint32_t *, unsigned, Race &) {
  return false;
}
void Races::landAsync(unsigned, unsigned, uint32_t, unsigned) {}
void Races::warpSync(unsigned, uint32_t) {}
void Races::release(Knowledge &, unsigned, uint32_t) {}
void Races::acquire(const Knowledge &, unsigned, uint32_t) {}
void Races::complete(const uint32_t *, Knowledge *) {}
