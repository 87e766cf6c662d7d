import { twoNodes } from './edge-nodes.story.ts';

twoNodes('haproxy', 'file');
