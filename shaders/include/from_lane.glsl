// What lane i of the subgroup has, for an index that is the same in all lanes and known when a kernel is compiled. Which of
// two ways is cheap depends on the driver (vk.Info.Broadcasts): the other one costs a loop over the lanes.
#extension GL_KHR_shader_subgroup_ballot : require
layout(constant_id = 30) const bool BROADCASTS = false;
#define FROM_LANE(type) type from_lane(type v, uint i) { return BROADCASTS ? subgroupBroadcast(v, i) : subgroupShuffle(v, i); }
FROM_LANE(uint)
FROM_LANE(float)
FROM_LANE(vec2)
FROM_LANE(vec4)
