// Participants made of pion, behind the vendor's own client for the plugin's side.
//
// It takes the API's address, and words on its standard input: "join NAME", and "lap", from where on pauses are counted anew.
// Ten times a second it says in a line of JSON what has become of its participants.
package main

import (
	"bufio"
	"bytes"
	"compress/zlib"
	"encoding/json"
	"io"
	"log"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/mattermost/rtcd/service"
	"github.com/mattermost/rtcd/service/rtc"
	"github.com/mattermost/rtcd/service/rtc/dc"
	"github.com/pion/webrtc/v4"
	"github.com/pion/webrtc/v4/pkg/media"
)

const (
	call = "call"
	key  = "kkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkk"
)

// State is what becomes of a participant.
type State struct {
	Connection string         `json:"connection"`
	Channel    string         `json:"channel"`
	Closed     bool           `json:"closed"`
	Negotiated int            `json:"negotiated"`
	Pings      int            `json:"pings"`
	Pongs      int            `json:"pongs"`
	Packets    map[string]int `json:"packets"`
	// PauseMS is the longest time without a packet of a track since the last lap.
	PauseMS map[string]int64 `json:"pause_ms"`
}

type participant struct {
	mut     sync.Mutex
	name    string
	client  *service.Client
	pc      *webrtc.PeerConnection
	channel *webrtc.DataChannel
	state   State
}

func check(err error) {
	if err != nil {
		log.Fatal(err)
	}
}

func (p *participant) say(kind rtc.MessageType, data []byte) {
	message := rtc.Message{UserID: p.name, SessionID: p.name, CallID: call, Type: kind, Data: data}
	check(p.client.Send(service.ClientMessage{Type: service.ClientMessageRTC, Data: message}))
}

func (p *participant) describe(data []byte) {
	if reader, err := zlib.NewReader(bytes.NewReader(data)); err == nil {
		data, err = io.ReadAll(reader)
		check(err)
	}
	var description webrtc.SessionDescription
	check(json.Unmarshal(data, &description))
	check(p.pc.SetRemoteDescription(description))
	p.mut.Lock()
	p.state.Negotiated++
	p.mut.Unlock()
	if description.Type != webrtc.SDPTypeOffer {
		return
	}
	answer, err := p.pc.CreateAnswer(nil)
	check(err)
	check(p.pc.SetLocalDescription(answer))
	data, err = json.Marshal(answer)
	check(err)
	message, err := dc.EncodeMessage(dc.MessageTypeSDP, data)
	check(err)
	check(p.channel.Send(message))
}

func (p *participant) hear(message service.ClientMessage) {
	switch message.Type {
	case service.ClientMessageClose:
		p.mut.Lock()
		p.state.Closed = true
		p.mut.Unlock()
	case service.ClientMessageRTC:
		said, ok := message.Data.(rtc.Message)
		if !ok || said.SessionID != p.name {
			return
		}
		if said.Type == rtc.SDPMessage {
			p.describe(said.Data)
		}
		if said.Type == rtc.ICEMessage && p.pc.RemoteDescription() != nil {
			var candidate struct{ Candidate webrtc.ICECandidateInit }
			if json.Unmarshal(said.Data, &candidate) == nil {
				_ = p.pc.AddICECandidate(candidate.Candidate)
			}
		}
	}
}

func (p *participant) receive(track *webrtc.TrackRemote) {
	from, last := track.StreamID(), time.Now()
	for {
		if _, _, err := track.ReadRTP(); err != nil {
			return
		}
		pause := time.Since(last).Milliseconds()
		last = time.Now()
		p.mut.Lock()
		p.state.Packets[from]++
		p.state.PauseMS[from] = max(p.state.PauseMS[from], pause)
		p.mut.Unlock()
	}
}

func (p *participant) talk(track *webrtc.TrackLocalStaticSample) {
	for range time.Tick(20 * time.Millisecond) {
		_ = track.WriteSample(media.Sample{Data: []byte("20 ms of voice"), Duration: 20 * time.Millisecond})
	}
}

func (p *participant) ping() {
	message, err := dc.EncodeMessage(dc.MessageTypePing, nil)
	check(err)
	for range time.Tick(100 * time.Millisecond) {
		if p.channel.ReadyState() == webrtc.DataChannelStateOpen && p.channel.Send(message) == nil {
			p.mut.Lock()
			p.state.Pings++
			p.mut.Unlock()
		}
	}
}

func join(client *service.Client, name string) *participant {
	pc, err := webrtc.NewPeerConnection(webrtc.Configuration{})
	check(err)
	channel, err := pc.CreateDataChannel("calls-dc", nil)
	check(err)
	p := &participant{name: name, client: client, pc: pc, channel: channel}
	p.state.Packets, p.state.PauseMS = map[string]int{}, map[string]int64{}
	channel.OnMessage(func(message webrtc.DataChannelMessage) {
		kind, payload, err := dc.DecodeMessage(message.Data)
		check(err)
		switch kind {
		case dc.MessageTypePong:
			p.mut.Lock()
			p.state.Pongs++
			p.mut.Unlock()
		case dc.MessageTypeSDP:
			p.describe(payload.([]byte))
		}
	})
	pc.OnTrack(func(track *webrtc.TrackRemote, _ *webrtc.RTPReceiver) { p.receive(track) })
	opus := webrtc.RTPCodecCapability{MimeType: "audio/opus", ClockRate: 48000, Channels: 2}
	track, err := webrtc.NewTrackLocalStaticSample(opus, "audio", "voice_"+name)
	check(err)
	_, err = pc.AddTrack(track)
	check(err)
	return p.begin(track)
}

func (p *participant) begin(track *webrtc.TrackLocalStaticSample) *participant {
	says := map[string]any{"callID": call, "userID": p.name, "sessionID": p.name, "dcSignaling": true}
	check(p.client.Send(service.ClientMessage{Type: service.ClientMessageJoin, Data: says}))
	offer, err := p.pc.CreateOffer(nil)
	check(err)
	gathered := webrtc.GatheringCompletePromise(p.pc)
	check(p.pc.SetLocalDescription(offer))
	<-gathered
	data, err := json.Marshal(p.pc.LocalDescription())
	check(err)
	p.say(rtc.SDPMessage, data)
	go p.talk(track)
	go p.ping()
	return p
}

func (p *participant) look() State {
	p.mut.Lock()
	defer p.mut.Unlock()
	state := p.state
	state.Connection, state.Channel = p.pc.ConnectionState().String(), p.channel.ReadyState().String()
	// The maps go on changing.
	state.Packets, state.PauseMS = map[string]int{}, map[string]int64{}
	for from, count := range p.state.Packets {
		state.Packets[from] = count
		state.PauseMS[from] = p.state.PauseMS[from]
	}
	return state
}

func (p *participant) lap() {
	p.mut.Lock()
	defer p.mut.Unlock()
	p.state.PauseMS = map[string]int64{}
}

func words() chan string {
	said := make(chan string)
	go func() {
		for lines := bufio.NewScanner(os.Stdin); lines.Scan(); {
			said <- lines.Text()
		}
		close(said)
	}()
	return said
}

func main() {
	config := service.ClientConfig{URL: os.Args[1], ClientID: "pion", AuthKey: key, ReconnectInterval: 200 * time.Millisecond}
	client, err := service.NewClient(config)
	check(err)
	check(client.Register("pion", key))
	check(client.Connect())
	participants := map[string]*participant{}
	said, tick := words(), time.Tick(100*time.Millisecond)
	for {
		select {
		case err := <-client.ErrorCh():
			log.Println("websocket:", err)
		case message := <-client.ReceiveCh():
			if message.Type == service.ClientMessageHello {
				// As the plugin does when its connection is there again.
				for name := range participants {
					says := map[string]string{"callID": call, "userID": name, "sessionID": name}
					check(client.Send(service.ClientMessage{Type: service.ClientMessageReconnect, Data: says}))
				}
			}
			for _, p := range participants {
				p.hear(message)
			}
		case word, ok := <-said:
			if !ok {
				return
			}
			if name, found := strings.CutPrefix(word, "join "); found {
				participants[name] = join(client, name)
			}
			if word == "lap" {
				for _, p := range participants {
					p.lap()
				}
			}
		case <-tick:
			all := map[string]State{}
			for name, p := range participants {
				all[name] = p.look()
			}
			check(json.NewEncoder(os.Stdout).Encode(all))
		}
	}
}
