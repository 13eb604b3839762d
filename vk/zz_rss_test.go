package vk_test
import ("testing";"fmt";"vkdomino/vk")
func TestZZ(t *testing.T){
 for _,val := range []bool{false,true} {
 for i:=range 100 { d,err:=vk.Open(vk.Options{Index:-1,Tier:vk.TierAuto,Validation:val}); if err!=nil{t.Fatal(err)}
  d.Close(); if i%10==9 {fmt.Print(resident(t)," ")}}
 fmt.Println()}
}
